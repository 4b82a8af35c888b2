//! Pictures: one setting over the length of lists, several settings beside each other.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::bootstrap::Estimate;
use super::metrics::METRICS;
use super::report::Report;

type Error = anyhow::Error;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Told apart by most eyes, also in grey (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
const WIDTH: u32 = 1_240;
/// Popularity, recency, random.
const BASELINES: usize = 3;
/// Drawn, in this order: hit rate and NDCG.
const DRAWN: [&str; 2] = ["hit_rate", "ndcg"];

/// Draws hit rate and NDCG of new items with their intervals.
pub(super) fn draw(path: &Path, report: &Report) -> Result<(), Error> {
    let sweep = report.systems.len() > BASELINES + 1;
    let height = if sweep { 150 + 26 * u32::try_from(report.systems.len()).unwrap_or(u32::MAX / 64) } else { 520 };
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let title = format!("deltarec {}: new items found, with 95% intervals", env!("CARGO_PKG_VERSION"));
        let area = root.titled(&title, ("sans-serif", 20)).map_err(failed)?;
        // The left panel has the names.
        let (left, right) = area.split_horizontally(WIDTH / 2 + if sweep { 120 } else { 0 });
        for ((area, name), first) in [left, right].iter().zip(DRAWN).zip([true, false]) {
            let metric = METRICS.iter().position(|metric| metric.name() == name).expect("it is one of them");
            if sweep {
                beside(area, report, metric, name, first)?;
            } else {
                over_k(area, report, metric, name)?;
            }
        }
        root.present().map_err(failed)?;
    }
    std::fs::write(path, text).map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))
}

fn failed(error: impl std::fmt::Display) -> Error {
    anyhow::anyhow!("cannot draw: {error}")
}

fn title(name: &str) -> &'static str {
    if name == "ndcg" { "NDCG" } else { "hit rate" }
}

/// Mean, low end, high end; an estimate without an interval is a point.
fn ends(estimate: &Estimate) -> (f64, f64, f64) {
    let mean = estimate.mean.unwrap_or_default();
    (mean, estimate.low.unwrap_or(mean), estimate.high.unwrap_or(mean))
}

fn highest<'e>(estimates: impl Iterator<Item = &'e Estimate>) -> Range<f64> {
    0.0..(estimates.map(|estimate| ends(estimate).2).fold(0.0, f64::max) * 1.1).max(1e-4)
}

/// One setting and the baselines, by the length of the list.
#[allow(clippy::cast_precision_loss)]
fn over_k(area: &Area<'_>, report: &Report, metric: usize, name: &str) -> Result<(), Error> {
    let (systems, ks) = (report.systems.len(), &report.ks);
    let all = (0..systems).flat_map(|system| ks.iter().map(move |k| report.estimate(system, metric, *k)));
    let room = highest(all);
    let longest = report.ks.last().map_or(1.0, |k| *k as f64);
    let mut chart = ChartBuilder::on(area)
        .caption(title(name), ("sans-serif", 17))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..longest * 1.05, room.start..room.end * 1.2) // room for the legend
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("length of the list, k")
        .x_label_formatter(&|k| format!("{k:.0}"))
        .y_desc(title(name))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .draw()
        .map_err(failed)?;
    for (system, colour) in (0..systems).zip(COLOURS) {
        let points: Vec<(f64, (f64, f64, f64))> =
            ks.iter().map(|k| (*k as f64, ends(report.estimate(system, metric, *k)))).collect();
        // Side by side, so that intervals do not hide each other.
        let shift = |x: f64| x + (system as f64 - 1.5) * longest * 0.004;
        let line = LineSeries::new(points.iter().map(|(x, (mean, ..))| (shift(*x), *mean)), colour.stroke_width(2));
        let drawn = chart.draw_series(line).map_err(failed)?.label(report.systems[system].name.clone());
        drawn.legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        let whiskers = points.iter().map(|(x, (_, low, high))| {
            PathElement::new([(shift(*x), *low), (shift(*x), *high)], colour.stroke_width(1))
        });
        chart.draw_series(whiskers).map_err(failed)?;
        let dots = points.iter().map(|(x, (mean, ..))| Circle::new((shift(*x), *mean), 3, colour.filled()));
        chart.draw_series(dots).map_err(failed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(failed)
}

/// All settings and the baselines, one beneath the other.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn beside(area: &Area<'_>, report: &Report, metric: usize, name: &str, named: bool) -> Result<(), Error> {
    let count = report.systems.len();
    let estimates: Vec<&Estimate> = (0..count).map(|system| report.estimate(system, metric, report.at)).collect();
    let caption = format!("{} at {}", title(name), report.at);
    let row = |system: usize| (count - 1 - system) as f64;
    let label = |y: &f64| {
        let system = count as f64 - 1.0 - y.round();
        let is_row = (y - y.round()).abs() < 1e-6 && system >= 0.0;
        report.systems.get(system as usize).filter(|_| is_row).map_or(String::new(), |system| system.name.clone())
    };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 17))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(40)
        .y_label_area_size(if named { 250 } else { 12 })
        .build_cartesian_2d(highest(estimates.iter().copied()), -0.5..count as f64 - 0.5)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .y_labels(if named { count } else { 0 })
        .y_label_formatter(&label)
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .draw()
        .map_err(failed)?;
    // Where the first setting stands, to compare the others with.
    let (first, ..) = ends(estimates[0]);
    let line = PathElement::new([(first, -0.5), (first, count as f64 - 0.5)], BLACK.mix(0.3).stroke_width(1));
    chart.draw_series([line]).map_err(failed)?;
    for (system, estimate) in estimates.into_iter().enumerate() {
        let colour = if system + BASELINES < count { COLOURS[0] } else { COLOURS[1] };
        let (mean, low, high) = ends(estimate);
        let whisker = PathElement::new([(low, row(system)), (high, row(system))], colour.stroke_width(2));
        chart.draw_series([whisker]).map_err(failed)?;
        chart.draw_series([Circle::new((mean, row(system)), 4, colour.filled())]).map_err(failed)?;
    }
    Ok(())
}
