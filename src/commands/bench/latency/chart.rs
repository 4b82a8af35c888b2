//! Charts of `deltarec bench latency`: latency by offered rate, and latency by percentile.

use std::ops::Range;
use std::path::Path;

use anyhow::Error;
use plotters::prelude::*;

use super::super::histogram::figure;
use super::rate_search::LIMIT;
use super::{LatencyResult, StepResult};
use crate::commands::chart::{self, Area, COLOURS, draw_legend, draw_mesh, draw_series, failed};
use crate::engine::grouped;

const SIZE: (u32, u32) = (1_240, 560);

/// Draws the first combination. The others are in the table and the JSON file.
pub(super) fn draw(path: &Path, results: &[LatencyResult]) -> Result<(), Error> {
    let Some(result) = results.first() else { return Ok(()) };
    let mut steps: Vec<&StepResult> = result.steps.iter().filter(|step| step.all.count > 0).collect();
    steps.sort_by_key(|step| step.rate);
    steps.dedup_by_key(|step| step.rate);
    chart::write(path, SIZE, &result.title(), |area| {
        let (left, right) = area.split_horizontally(SIZE.0 / 2);
        draw_by_rate(&left, &steps)?;
        draw_by_percentile(&right, &steps)
    })
}

#[allow(clippy::cast_precision_loss)]
fn rate(step: &StepResult) -> f64 {
    step.rate as f64
}

/// Axis from just below the smallest latency to just above the largest, at least two powers of ten.
fn latency_range(latencies: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut min, mut max) = (f64::MAX, f64::MIN);
    for ms in latencies.filter(|ms| *ms > 0.0) {
        (min, max) = (min.min(ms), max.max(ms));
    }
    if min > max {
        return 0.1..100.0;
    }
    min / 1.5..(max * 1.5).max(min * 100.0)
}

type LogLogChart<'a, 'b> = chart::Chart<'a, 'b, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;

fn log_log_chart<'a, 'b>(
    area: &'a Area<'b>,
    caption: &str,
    x: (Range<f64>, &str, &dyn Fn(&f64) -> String),
    y: Range<f64>,
) -> Result<LogLogChart<'a, 'b>, Error> {
    let mut builder = chart::builder(area, caption, (48, 64));
    let mut chart = builder.build_cartesian_2d(x.0.log_scale(), y.log_scale()).map_err(failed)?;
    draw_mesh(
        chart
            .configure_mesh()
            .x_desc(x.1)
            .y_desc("latency from the schedule, ms")
            .x_labels(8)
            .y_labels(10)
            .x_label_formatter(x.2)
            .y_label_formatter(&|ms| plain(*ms)),
    )?;
    Ok(chart)
}

/// A number without an exponent: 0.05, 0.1, 5, 200.
fn plain(number: f64) -> String {
    if number >= 1.0 { format!("{number:.0}") } else { format!("{}", (number * 1e4).round() / 1e4) }
}

fn draw_by_rate(area: &Area<'_>, steps: &[&StepResult]) -> Result<(), Error> {
    let percentiles: [(&str, fn(&StepResult) -> f64); 5] = [
        ("max", |step| step.all.max_ms),
        ("p99.9", |step| step.all.p999_ms),
        ("p99", |step| step.all.p99_ms),
        ("p90", |step| step.all.p90_ms),
        ("p50", |step| step.all.p50_ms),
    ];
    let rates = (steps.first().map_or(1.0, |step| rate(step)), steps.last().map_or(1.0, |step| rate(step)));
    let x = rates.0 / 1.3..(rates.1 * 1.3).max(rates.0 * 2.0);
    let y = latency_range(steps.iter().flat_map(|step| [step.all.p50_ms, step.all.max_ms]));
    let y = y.start..y.end * 12.0; // room for the legend
    let axis = (x.clone(), "events offered per second", &thousands as &dyn Fn(&f64) -> String);
    let mut chart = log_log_chart(area, "Latency at each rate", axis, y.clone())?;
    for ((name, latency), colour) in percentiles.into_iter().zip(COLOURS) {
        let points = steps.iter().map(|step| (rate(step), latency(step))).filter(|(_, ms)| *ms > 0.0);
        draw_series(&mut chart, &points.collect::<Vec<_>>(), colour, name.to_owned())?;
    }
    let limit = LIMIT.as_secs_f64() * 1e3;
    if y.contains(&limit) {
        let style = BLACK.mix(0.6).stroke_width(1);
        let drawn = chart.draw_series([PathElement::new([(x.start, limit), (x.end, limit)], style)]).map_err(failed)?;
        drawn
            .label(format!("limit of p99: {} ms", plain(limit)))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    draw_legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

#[allow(clippy::trivially_copy_pass_by_ref, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn thousands(number: &f64) -> String {
    grouped(number.round() as u64)
}

/// The x axis is 1/(1 - percentile): each further nine has the same width.
fn draw_by_percentile(area: &Area<'_>, steps: &[&StepResult]) -> Result<(), Error> {
    // One step per colour, evenly chosen.
    let colours = COLOURS.len();
    let drawn: Vec<&&StepResult> = match steps.len() {
        count if count <= colours => steps.iter().collect(),
        count => (0..colours).map(|at| &steps[at * (count - 1) / (colours - 1)]).collect(),
    };
    let rarest = drawn.iter().filter_map(|step| step.all.curve.last()).map(|point| 1.0 / (1.0 - point.0));
    let rarest = rarest.fold(10.0, f64::max);
    let y = latency_range(drawn.iter().flat_map(|step| step.all.curve.iter().map(|point| point.1)));
    let percentile = |rarity: &f64| format!("{}%", (1e7 * (1.0 - 1.0 / rarity)).round() / 1e5);
    let x = (1.0..rarest * 1.2, "percentile of the events", &percentile as &dyn Fn(&f64) -> String);
    let mut chart = log_log_chart(area, "How rare a latency is", x, y)?;
    for (step, colour) in drawn.into_iter().zip(COLOURS).rev() {
        let points: Vec<_> = step.all.curve.iter().map(|(quantile, ms)| (1.0 / (1.0 - quantile), *ms)).collect();
        let label = format!("{}/s (p99 {} ms)", grouped(step.rate), figure(step.all.p99_ms));
        draw_series(&mut chart, &points, colour, label)?;
    }
    // The curves rise, so this corner is free.
    draw_legend(&mut chart, SeriesLabelPosition::LowerRight)
}
