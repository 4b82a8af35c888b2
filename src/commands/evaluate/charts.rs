//! Charts of `deltarec evaluate`: one setting by length of the list, or several settings side by side.

use std::ops::Range;
use std::path::Path;

use anyhow::Error;
use plotters::prelude::*;

use super::bootstrap::Estimate;
use super::metrics::METRICS;
use super::report::Report;
use crate::commands::chart::{self, Area, COLOURS, draw_legend, draw_mesh, draw_series, failed};

const WIDTH: u32 = 1_240;
/// Metrics of the two panels.
const PANELS: [&str; 2] = ["hit_rate", "ndcg"];

/// Height of the curve of accuracy against diversity.
const CURVE_HEIGHT: u32 = 420;

/// Draws hit rate and NDCG of the main results with their intervals; of several settings with a catalogue also NDCG against the
/// diversity of the lists by tags.
pub(super) fn draw(path: &Path, report: &Report) -> Result<(), Error> {
    let sweep = report.systems.len() > report.baselines + 1;
    let height = if sweep { 150 + 26 * u32::try_from(report.systems.len()).unwrap_or(u32::MAX / 64) } else { 520 };
    let curve = if sweep && report.tag_diversity(0).is_some() { CURVE_HEIGHT } else { 0 };
    chart::write(path, (WIDTH, height + curve), &format!("{} found, with 95% intervals", report.relevant), |area| {
        let (panels, below) = area.split_vertically(area.dim_in_pixel().1.saturating_sub(curve));
        if curve > 0 {
            draw_trade_off(&below, report)?;
        }
        // The left panel of a sweep also has the names of the settings.
        let (left, right) = panels.split_horizontally(WIDTH / 2 + if sweep { 120 } else { 0 });
        for ((area, name), with_names) in [left, right].iter().zip(PANELS).zip([true, false]) {
            let metric = METRICS.iter().position(|metric| metric.name == name).expect("a known metric");
            if sweep {
                draw_settings(area, report, metric, with_names)?;
            } else {
                draw_by_length(area, report, metric)?;
            }
        }
        Ok(())
    })
}

/// NDCG of the settings against the diversity of their lists by tags, in the order in which they were given.
fn draw_trade_off(area: &Area<'_>, report: &Report) -> Result<(), Error> {
    let metric = METRICS.iter().position(|metric| metric.name == "ndcg").expect("a known metric");
    let settings = report.systems.len() - report.baselines;
    let point =
        |system| Some((bounds(report.tag_diversity(system)?).0, bounds(report.estimate(system, metric, report.at))));
    let points: Vec<(f64, (f64, f64, f64))> = (0..settings).filter_map(point).collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (value.min(low), value.max(high)));
        let margin = ((high - low) * 0.08).max(1e-4);
        low - margin..high + margin
    };
    let x = range(&mut points.iter().map(|(x, _)| *x));
    let y = range(&mut points.iter().flat_map(|(_, (_, low, high))| [*low, *high]));
    let caption = format!("NDCG against diversity of lists of {}", report.at);
    let mut chart = chart::builder(area, &caption, (48, 64)).build_cartesian_2d(x, y).map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    draw_mesh(mesh.x_desc("tag diversity").y_desc("NDCG"))?;
    let means: Vec<(f64, f64)> = points.iter().map(|(x, (mean, ..))| (*x, *mean)).collect();
    let line = LineSeries::new(means.iter().copied(), COLOURS[0].stroke_width(2));
    chart.draw_series(line).map_err(failed)?;
    for (system, (x, (mean, low, high))) in points.into_iter().enumerate() {
        let interval = PathElement::new([(x, low), (x, high)], COLOURS[0].stroke_width(1));
        chart.draw_series([interval]).map_err(failed)?;
        let name = Text::new(report.systems[system].name.clone(), (8, -18), ("sans-serif", 13));
        let dot = EmptyElement::at((x, mean)) + Circle::new((0, 0), 4, COLOURS[0].filled()) + name;
        chart.draw_series([dot]).map_err(failed)?;
    }
    Ok(())
}

/// Mean, lower and upper bound. Without an interval all three are the mean.
fn bounds(estimate: &Estimate) -> (f64, f64, f64) {
    let mean = estimate.mean.unwrap_or_default();
    (mean, estimate.low.unwrap_or(mean), estimate.high.unwrap_or(mean))
}

fn value_range<'e>(estimates: impl Iterator<Item = &'e Estimate>) -> Range<f64> {
    0.0..(estimates.map(|estimate| bounds(estimate).2).fold(0.0, f64::max) * 1.1).max(1e-4)
}

/// One setting and the baselines by length of the list.
#[allow(clippy::cast_precision_loss)]
fn draw_by_length(area: &Area<'_>, report: &Report, metric: usize) -> Result<(), Error> {
    let title = METRICS[metric].title;
    let (systems, ks) = (report.systems.len(), &report.ks);
    let all = (0..systems).flat_map(|system| ks.iter().map(move |k| report.estimate(system, metric, *k)));
    let y = value_range(all);
    let longest = report.ks.last().map_or(1.0, |k| *k as f64);
    let mut chart = chart::builder(area, title, (48, 64))
        .build_cartesian_2d(0.0..longest * 1.05, y.start..y.end * 1.2) // room for the legend
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    draw_mesh(mesh.x_desc("length of the list, k").x_label_formatter(&|k| format!("{k:.0}")).y_desc(title))?;
    for (system, colour) in (0..systems).zip(COLOURS) {
        // Shifted a little, so that intervals do not hide each other.
        let x = |k: usize| k as f64 + (system as f64 - 1.5) * longest * 0.004;
        let points: Vec<(f64, (f64, f64, f64))> =
            ks.iter().map(|k| (x(*k), bounds(report.estimate(system, metric, *k)))).collect();
        let means: Vec<(f64, f64)> = points.iter().map(|(x, (mean, ..))| (*x, *mean)).collect();
        draw_series(&mut chart, &means, colour, report.systems[system].name.clone())?;
        let intervals = points
            .iter()
            .map(|(x, (_, low, high))| PathElement::new([(*x, *low), (*x, *high)], colour.stroke_width(1)));
        chart.draw_series(intervals).map_err(failed)?;
    }
    draw_legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

/// All settings and the baselines at one length, one row each.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn draw_settings(area: &Area<'_>, report: &Report, metric: usize, with_names: bool) -> Result<(), Error> {
    let count = report.systems.len();
    let estimates: Vec<&Estimate> = (0..count).map(|system| report.estimate(system, metric, report.at)).collect();
    let caption = format!("{} at {}", METRICS[metric].title, report.at);
    let row = |system: usize| (count - 1 - system) as f64;
    let label = |y: &f64| {
        let system = count as f64 - 1.0 - y.round();
        let is_row = (y - y.round()).abs() < 1e-6 && system >= 0.0;
        report.systems.get(system as usize).filter(|_| is_row).map_or(String::new(), |system| system.name.clone())
    };
    let mut chart = chart::builder(area, &caption, (40, if with_names { 250 } else { 12 }))
        .build_cartesian_2d(value_range(estimates.iter().copied()), -0.5..count as f64 - 0.5)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    draw_mesh(mesh.y_labels(if with_names { count } else { 0 }).y_label_formatter(&label))?;
    // The first setting is the reference.
    let (first, ..) = bounds(estimates[0]);
    let line = PathElement::new([(first, -0.5), (first, count as f64 - 0.5)], BLACK.mix(0.3).stroke_width(1));
    chart.draw_series([line]).map_err(failed)?;
    for (system, estimate) in estimates.into_iter().enumerate() {
        let colour = if system + report.baselines < count { COLOURS[0] } else { COLOURS[1] };
        let (mean, low, high) = bounds(estimate);
        let interval = PathElement::new([(low, row(system)), (high, row(system))], colour.stroke_width(2));
        chart.draw_series([interval]).map_err(failed)?;
        chart.draw_series([Circle::new((mean, row(system)), 4, colour.filled())]).map_err(failed)?;
    }
    Ok(())
}
