//! The drawing.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::Picture;
use super::curves::{self, Bars, Curves, Line};
use crate::model::{Bench, Unit};
use crate::table;

const SIZE: (u32, u32) = (1000, 460);

/// Width of the legend, which has a place of its own: no curve can run beneath it.
const LEGEND: u32 = 170;

/// Every picture of a benchmark.
pub(super) fn pictures(bench: &Bench) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    for curves in curves::curves(bench) {
        let svg = draw(|area| lines(area, &bench.name, &curves))?;
        pictures.push(Picture { name: file_name(&bench.name, &curves.title), svg });
    }
    let bars = curves::bars(bench);
    if !bars.is_empty() {
        let svg = draw(|area| clusters(area, &bars, &bench.about))?;
        pictures.push(Picture { name: file_name(&bench.name, "rates"), svg });
    }
    for (title, all) in curves::percentiles(bench) {
        let svg = draw(|area| distribution(area, &title, &all))?;
        pictures.push(Picture { name: file_name(&bench.name, &title), svg });
    }
    Ok(pictures)
}

fn file_name(bench: &str, title: &str) -> String {
    let mut name = String::new();
    for c in format!("{bench}-{title}").chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_matches('-').to_owned()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(what: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        what(&area)?;
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

fn drawing(e: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {e}")
}

/// A hue for each family; compat is the strong one, its crate and its C library differ a little.
fn colour(interface: &str) -> RGBColor {
    match interface {
        "select" => RGBColor(120, 170, 140),
        "compat-select" => RGBColor(0, 110, 60),
        "compat-select-rust" => RGBColor(0, 160, 90),
        "poll" => RGBColor(225, 160, 95),
        "compat-poll" => RGBColor(200, 80, 0),
        "compat-poll-rust" => RGBColor(235, 110, 20),
        "epoll" => RGBColor(150, 150, 205),
        "compat-epoll" => RGBColor(60, 50, 160),
        "compat-epoll-rust" => RGBColor(95, 90, 210),
        "kqueue" => RGBColor(200, 0, 110),
        "kqueue-c" => RGBColor(235, 70, 150),
        "kqueue-private" => RGBColor(130, 0, 90),
        _ => RGBColor(90, 90, 90),
    }
}

/// The smallest and the largest of what will be drawn, with some air.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite() && *v > 0.0)
        .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high { (1.0, 10.0) } else { (low / 1.4, high * 1.4) }
}

/// What the legend shows of an interface.
struct Key<'a> {
    interface: &'a str,
    /// Drawn as a dashed line, as a line, or as a bar.
    mark: Mark,
}

#[derive(Clone, Copy)]
enum Mark {
    Dashes,
    Line,
    Bar,
}

/// The lines' keys, from the highest line at the right end to the lowest.
fn keys(lines: &[Line]) -> Vec<Key<'_>> {
    let end = |line: &Line| line.points.last().map_or(0.0, |p| p.1);
    let mut lines: Vec<&Line> = lines.iter().collect();
    lines.sort_by(|a, b| end(b).total_cmp(&end(a)));
    let mark = |line: &Line| if line.native { Mark::Dashes } else { Mark::Line };
    lines.into_iter().map(|line| Key { interface: &line.interface, mark: mark(line) }).collect()
}

/// Draws the legend at the right edge, and gives the room that is left for the plot.
fn beside_legend<'a>(area: &Area<'a>, keys: &[Key<'_>]) -> Result<Area<'a>> {
    let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    for (i, key) in keys.iter().enumerate() {
        let y = 60 + 20 * i as i32;
        let colour = colour(key.interface);
        let strokes: &[(i32, i32)] = match key.mark {
            Mark::Dashes => &[(0, 6), (9, 15), (18, 24)],
            Mark::Line | Mark::Bar => &[(0, 24)],
        };
        let width = match key.mark {
            Mark::Dashes => 2,
            Mark::Line => 3,
            Mark::Bar => 10,
        };
        for &(from, to) in strokes {
            let stroke = PathElement::new([(from, y), (to, y)], colour.stroke_width(width));
            legend.draw(&stroke).map_err(drawing)?;
        }
        let text = Text::new(key.interface.to_owned(), (32, y - 7), ("sans-serif", 14));
        legend.draw(&text).map_err(drawing)?;
    }
    Ok(plot)
}

fn lines(area: &Area<'_>, bench: &str, curves: &Curves) -> Result<()> {
    let area = &beside_legend(area, &keys(&curves.lines))?;
    let points = || curves.lines.iter().flat_map(|l| l.points.iter());
    let (low, high) = span(points().map(|p| p.1));
    let x = span(points().map(|p| p.0));
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(format!("{bench}: {}", curves.title), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80);
    let y_name = if curves.unit == Unit::PerSecond { "a second" } else { "time of a call" };
    let y = (low..high).log_scale();
    if curves.percent {
        let mut chart = builder.build_cartesian_2d(0.0..100.0, y).map_err(drawing)?;
        finish(&mut chart, curves, "% of the descriptors are ready", y_name, 11)
    } else {
        let x = (x.0..x.1).log_scale();
        let mut chart = builder.build_cartesian_2d(x, y).map_err(drawing)?;
        let name = if curves.title.contains("one queue") { "threads" } else { "descriptors" };
        finish(&mut chart, curves, name, y_name, 6)
    }
}

type Chart<'a, 'b, X> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, plotters::coord::combinators::LogCoord<f64>>>;

/// Axes and lines.
fn finish<'a, 'b: 'a, X>(
    chart: &mut Chart<'a, 'b, X>,
    curves: &Curves,
    x_name: &str,
    y_name: &str,
    x_labels: usize,
) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let unit = curves.unit;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .x_labels(x_labels)
        .y_labels(8)
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_label_formatter(&|n| format!("{n:.0}"))
        .y_label_formatter(&|v| table::value(unit, *v))
        .draw()
        .map_err(drawing)?;
    for line in &curves.lines {
        draw_line(chart, line)?;
    }
    Ok(())
}

fn draw_line<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    line: &Line,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let colour = colour(&line.interface);
    let points = &line.points;
    let width = if line.native { 2 } else { 3 };
    let style = colour.stroke_width(width);
    // Native is dashed, so that the two can be told apart without colours too.
    let drawn = if line.native {
        chart.draw_series(DashedLineSeries::new(points.iter().copied(), 6, 4, style))
    } else {
        chart.draw_series(LineSeries::new(points.iter().copied(), style))
    };
    drawn.map_err(drawing)?;
    let dots = points.iter().map(|&p| Circle::new(p, 3, colour.filled()));
    chart.draw_series(dots).map_err(drawing)?;
    Ok(())
}

/// Bars side by side, a cluster for each group.
fn clusters(area: &Area<'_>, all: &[Bars], title: &str) -> Result<()> {
    let high = all.iter().flat_map(|b| &b.bars).map(|b| b.1).fold(1.0, f64::max) * 1.15;
    let slots: usize = all.iter().map(|b| b.bars.len() + 1).sum();
    let mut named: Vec<&str> = Vec::new();
    for (interface, _) in all.iter().flat_map(|b| &b.bars) {
        if !named.contains(&&**interface) {
            named.push(interface);
        }
    }
    let keys: Vec<_> =
        named.into_iter().map(|interface| Key { interface, mark: Mark::Bar }).collect();
    let area = &beside_legend(area, &keys)?;
    // The long title would run out of the picture.
    let title = title.split(':').next().unwrap_or(title);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..slots as f64, 0.0..high)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(WHITE)
        .y_desc("a second")
        .y_label_formatter(&|v| table::value(Unit::PerSecond, *v))
        .draw()
        .map_err(drawing)?;
    let mut at = 0.5;
    for cluster in all {
        let middle = at + cluster.bars.len() as f64 / 2.0;
        for (interface, value) in &cluster.bars {
            let colour = colour(interface);
            let bar = Rectangle::new([(at, 0.0), (at + 0.9, *value)], colour.filled());
            chart.draw_series([bar]).map_err(drawing)?;
            at += 1.0;
        }
        at += 1.0;
        let (x, y) = chart.backend_coord(&(middle, 0.0));
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        let width = cluster.label.len() as i32 * 6;
        area.draw(&Text::new(cluster.label.clone(), (x - width / 2, y + 8), style))
            .map_err(drawing)?;
    }
    Ok(())
}

/// An axis of percentiles that gives its upper end room: the nth nine lies n steps from the left.
#[derive(Clone)]
struct Percentiles;

impl Percentiles {
    fn place(p: f64) -> f64 {
        // 0 % at 0, 90 % at 1, 99 % at 2, 99.9 % at 3.
        -(1.0 - p / 100.0).max(1e-4).log10()
    }
}

impl Ranged for Percentiles {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = Self::place(*value) / Self::place(99.95);
        limit.0 + (f64::from(limit.1 - limit.0) * share) as i32
    }

    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        vec![0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9]
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..99.95
    }
}

fn distribution(area: &Area<'_>, title: &str, all: &[Line]) -> Result<()> {
    let area = &beside_legend(area, &keys(all))?;
    let (low, high) = span(all.iter().flat_map(|l| l.points.iter()).map(|p| p.1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(Percentiles, (low..high).log_scale())
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .light_line_style(WHITE)
        .x_label_formatter(&|p| format!("{p}"))
        .y_label_formatter(&|v| table::value(Unit::Nanoseconds, *v))
        .draw()
        .map_err(drawing)?;
    for line in all {
        draw_line(&mut chart, line)?;
    }
    Ok(())
}
