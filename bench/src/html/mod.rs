//! The report: one HTML file with everything in it.

pub(crate) mod curves;
mod plot;

use std::fmt::Write;

use crate::model::{Bench, Case, Run, Series, Verdict};
use crate::table;

/// A picture of a benchmark.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Usable as a file name.
    pub(crate) name: String,
    pub(crate) svg: String,
}

/// The whole report.
pub(crate) fn report(run: &Run) -> anyhow::Result<String> {
    let mut body = String::new();
    write!(body, "<h1>select, poll, epoll, kqueue: native and kqcompat</h1>")?;
    for line in table::footer(run).trim().lines() {
        write!(body, "<p class=host>{}</p>", escape(line))?;
    }
    write!(
        body,
        "<p>A plain ratio is a part of the native call's cost; one with x says how many times \
         faster; one with a sign is a difference. Medians of interleaved rounds, with the middle \
         four fifths in brackets.</p>"
    )?;
    for bench in &run.benches {
        write!(body, "<h2>{}</h2><p>{}</p>", escape(&bench.name), escape(&bench.about))?;
        for picture in plot::pictures(bench)? {
            write!(body, "<figure>{}</figure>", picture.svg)?;
        }
        rows(&mut body, bench)?;
        for note in &bench.notes {
            write!(body, "<p class=note>{}</p>", escape(note))?;
        }
    }
    Ok(format!(
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>kqcompat bench {}</title>\
         <style>{STYLE}</style><body>{body}</body></html>\n",
        escape(&run.date)
    ))
}

/// The pictures of all benchmarks of a run.
pub(crate) fn pictures(run: &Run) -> anyhow::Result<Vec<Picture>> {
    let mut all = Vec::new();
    for bench in &run.benches {
        all.extend(plot::pictures(bench)?);
    }
    Ok(all)
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;\
    padding:0 1rem;color:#222;background:#fff}h2{border-bottom:1px solid #ccc;margin-top:3rem}\
    table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\
    td,th{padding:.15rem .6rem;text-align:right;white-space:nowrap}td:first-child,th:first-child,\
    td:nth-child(3),th:nth-child(3){text-align:left;white-space:normal}\
    tr.first td{border-top:1px solid #ddd}.met{color:#1a7f37}.noise{color:#9a6700}\
    .missed{color:#cf222e;font-weight:600}.range,.host,.note{color:#666}.note{font-style:italic}\
    figure{margin:1rem 0}figure svg{max-width:100%;height:auto}";

fn rows(body: &mut String, bench: &Bench) -> std::fmt::Result {
    body.push_str(
        "<table><tr><th>case<th>N<th>interface<th>ratio<th><th>target<th><th>ours<th>native</tr>",
    );
    for case in &bench.cases {
        if case.others.is_empty() {
            write!(
                body,
                "<tr class=first>{}<td>{}<td><td><td><td><td><td>{}</tr>",
                label(case),
                escape(&case.native.interface),
                escape(&table::value(case.unit, case.native.value.median)),
            )?;
        }
        for (i, series) in case.others.iter().enumerate() {
            row(body, case, series, i == 0)?;
        }
    }
    body.push_str("</table>");
    Ok(())
}

fn label(case: &Case) -> String {
    let n = case.n.map_or_else(String::new, |n| n.to_string());
    format!("<td>{}: {}<td>{n}", escape(&case.group), escape(&case.title))
}

fn row(body: &mut String, case: &Case, series: &Series, first: bool) -> std::fmt::Result {
    let (class, label) =
        if first { (" class=first", label(case)) } else { ("", "<td><td>".to_owned()) };
    let (ratio, range) = series.ratio.map_or_else(Default::default, |r| {
        let text = |x| escape(&table::ratio(case, x));
        (text(r.median), format!("({} .. {})", text(r.p10), text(r.p90)))
    });
    let target = series.target.map_or_else(String::new, |t| escape(&table::target(case, t)));
    let verdict = match series.verdict() {
        None => "",
        Some(Verdict::Met) => " class=met",
        Some(Verdict::WithinNoise) => " class=noise",
        Some(Verdict::Missed) => " class=missed",
    };
    let verdict = format!("<td{verdict}>{}", table::verdict_text(case, series));
    write!(
        body,
        "<tr{class}>{label}<td>{}<td>{ratio}<td class=range>{range}<td>{target}{verdict}<td>{}\
         <td>{}</tr>",
        escape(&series.interface),
        escape(&table::value(case.unit, series.value.median)),
        escape(&table::value(case.unit, case.native.value.median)),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::run_of;
    use crate::measure::Row;
    use crate::model::Target;

    fn run() -> Run {
        let mut bench = Bench::new("poll-table", "a < b & c");
        for (n, native, ours) in [(1, 200.0, 210.0), (16, 1000.0, 220.0), (256, 14000.0, 250.0)] {
            let lanes =
                vec![("poll".into(), None), ("compat-poll".into(), Some(Target::AtLeast(1.0)))];
            let row = Row::speedup("poll", "blocking").at(n);
            bench.cases.push(row.case(lanes, &[vec![native; 3], vec![ours; 3]]));
        }
        bench.cases[0].native.percentiles = vec![(50.0, 5e3), (99.0, 9e3)];
        bench.cases[0].others[0].percentiles = vec![(50.0, 5e3), (99.0, 8e3)];
        let lanes = vec![("epoll".into(), None), ("kqueue".into(), None)];
        bench.cases.push(
            Row::rate("inet ET", "events").at(100).case(lanes, &[vec![7e4; 3], vec![8e4; 3]]),
        );
        bench.note("N = 9 could <not> be run");
        run_of(vec![bench])
    }

    #[test]
    fn the_report_stands_alone_and_is_escaped() {
        let html = report(&run()).unwrap();
        for part in ["a &lt; b &amp; c", "could &lt;not&gt; be run", "56.0x", "class=met", "<svg"] {
            assert!(html.contains(part), "{part} is not in the report");
        }
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!html.contains(outside), "the report needs something outside: {outside}");
        }
    }

    #[test]
    fn curves_bars_and_percentiles_are_drawn() {
        let names: Vec<String> = pictures(&run()).unwrap().into_iter().map(|p| p.name).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in names {
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        }
    }
}
