//! Order statistics of small samples: medians with their spread, never means, since a scheduling
//! hiccup moves a mean and says nothing about the call that was measured.

use serde::{Deserialize, Serialize};

/// The `p`-th percentile (0 to 100) of a sorted sample, interpolated between neighbours.
///
/// An empty sample has none: NaN.
pub(crate) fn percentile(sorted: &[f64], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = p.clamp(0.0, 100.0) / 100.0 * last as f64;
    let below = at.floor() as usize;
    let above = at.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

/// A sample's median and the range that holds its middle four fifths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// Half of the sample is at most this.
    pub(crate) median: f64,
    /// A tenth of the sample is at most this.
    pub(crate) p10: f64,
    /// Nine tenths of the sample are at most this.
    pub(crate) p90: f64,
    /// Size of the sample.
    pub(crate) n: usize,
}

impl Spread {
    /// The spread of `sample`, in any order. Values that are not finite are left out.
    pub(crate) fn of(sample: &[f64]) -> Self {
        let mut sorted: Vec<f64> = sample.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self {
            median: percentile(&sorted, 50.0),
            p10: percentile(&sorted, 10.0),
            p90: percentile(&sorted, 90.0),
            n: sorted.len(),
        }
    }

    /// Whether `value` lies in the middle four fifths.
    pub(crate) fn contains(&self, value: f64) -> bool {
        (self.p10..=self.p90).contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated() {
        let s = [10.0, 20.0, 30.0, 40.0];
        assert_eq!(percentile(&s, 0.0), 10.0);
        assert_eq!(percentile(&s, 100.0), 40.0);
        assert_eq!(percentile(&s, 50.0), 25.0);
        assert!((percentile(&s, 90.0) - 37.0).abs() < 1e-9);
    }

    #[test]
    fn out_of_range_percentiles_are_the_ends() {
        assert_eq!(percentile(&[1.0, 2.0], -5.0), 1.0);
        assert_eq!(percentile(&[1.0, 2.0], 200.0), 2.0);
    }

    #[test]
    fn an_empty_sample_has_no_percentile() {
        assert!(percentile(&[], 50.0).is_nan());
        let s = Spread::of(&[f64::NAN, f64::INFINITY]);
        assert_eq!(s.n, 0);
        assert!(s.median.is_nan());
    }

    #[test]
    fn one_outlier_does_not_move_the_median() {
        let s = Spread::of(&[1.0, 1.0, 1000.0, 1.0, 1.0]);
        assert_eq!(s.median, 1.0);
        assert_eq!(s.n, 5);
    }

    #[test]
    fn a_spread_holds_its_middle() {
        let s = Spread { median: 2.0, p10: 1.0, p90: 4.0, n: 9 };
        assert!(s.contains(1.0) && s.contains(3.0) && !s.contains(4.5));
    }
}
