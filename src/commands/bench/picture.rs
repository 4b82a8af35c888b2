//! Two panels of `deltarec bench latency`: latency against the offered rate, and against how rare it is.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::latency::{LIMIT, Measured, Outcome};
use super::sample::figure;
use crate::engine::grouped;

type Error = anyhow::Error;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

const SIZE: (u32, u32) = (1_240, 560);
/// Told apart by most eyes, also in grey (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Draws the first combination: the others are in the table and the JSON, where they can be told apart.
pub(super) fn draw(path: &Path, results: &[Measured]) -> Result<(), Error> {
    let Some(measured) = results.first() else { return Ok(()) };
    let mut steps: Vec<&Outcome> = measured.steps.iter().filter(|step| step.all.count > 0).collect();
    steps.sort_by_key(|step| step.rate);
    steps.dedup_by_key(|step| step.rate);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let drawn = root.fill(&WHITE).map_err(failed).and_then(|()| {
            let title = format!("deltarec {}: {}", env!("CARGO_PKG_VERSION"), measured.title());
            let root = root.titled(&title, ("sans-serif", 20)).map_err(failed)?;
            let (left, right) = root.split_horizontally(SIZE.0 / 2);
            by_rate(&left, &steps)?;
            by_rarity(&right, &steps)
        });
        drawn.and_then(|()| root.present().map_err(failed))?;
    }
    std::fs::write(path, text).map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))
}

fn failed(error: impl std::fmt::Display) -> Error {
    anyhow::anyhow!("cannot draw: {error}")
}

#[allow(clippy::cast_precision_loss)]
fn rate(step: &Outcome) -> f64 {
    step.rate as f64
}

/// Latencies from just below the smallest to just above the largest, at least two powers of ten.
fn latencies(all: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut least, mut most) = (f64::MAX, f64::MIN);
    for ms in all.filter(|ms| *ms > 0.0) {
        (least, most) = (least.min(ms), most.max(ms));
    }
    if least > most {
        return 0.1..100.0;
    }
    least / 1.5..(most * 1.5).max(least * 100.0)
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;

fn chart<'a, 'b>(
    area: &'a Area<'b>,
    caption: &str,
    x: (Range<f64>, &str, &dyn Fn(&f64) -> String),
    y: Range<f64>,
) -> Result<Chart<'a, 'b>, Error> {
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 17))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(x.0.log_scale(), y.log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc(x.1)
        .y_desc("latency from the schedule, ms")
        .x_labels(8)
        .y_labels(10)
        .x_label_formatter(x.2)
        .y_label_formatter(&|ms| plain(*ms))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .draw()
        .map_err(failed)?;
    Ok(chart)
}

/// 0.05, 0.1, 5, 200: as people write them.
fn plain(number: f64) -> String {
    if number >= 1.0 { format!("{number:.0}") } else { format!("{}", (number * 1e4).round() / 1e4) }
}

fn series(chart: &mut Chart<'_, '_>, points: Vec<(f64, f64)>, colour: RGBColor, label: String) -> Result<(), Error> {
    let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
    let legend = chart.draw_series(line).map_err(failed)?.label(label);
    legend.legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    let dots = points.into_iter().map(|point| Circle::new(point, 3, colour.filled()));
    chart.draw_series(dots).map_err(failed)?;
    Ok(())
}

fn legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>, position: SeriesLabelPosition) -> Result<(), Error> {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(failed)
}

fn by_rate(area: &Area<'_>, steps: &[&Outcome]) -> Result<(), Error> {
    let percentiles: [(&str, fn(&Outcome) -> f64); 5] = [
        ("max", |step| step.all.max_ms),
        ("p99.9", |step| step.all.p999_ms),
        ("p99", |step| step.all.p99_ms),
        ("p90", |step| step.all.p90_ms),
        ("p50", |step| step.all.p50_ms),
    ];
    let rates = (steps.first().map_or(1.0, |step| rate(step)), steps.last().map_or(1.0, |step| rate(step)));
    let y = latencies(steps.iter().flat_map(|step| [step.all.p50_ms, step.all.max_ms]));
    let y = y.start..y.end * 12.0; // room for the legend
    let x = (
        rates.0 / 1.3..(rates.1 * 1.3).max(rates.0 * 2.0),
        "events offered per second",
        &thousands as &dyn Fn(&f64) -> String,
    );
    let mut chart = chart(area, "Latency at each rate", x, y.clone())?;
    for ((name, of), colour) in percentiles.into_iter().zip(COLOURS) {
        let points = steps.iter().map(|step| (rate(step), of(step))).filter(|(_, ms)| *ms > 0.0).collect();
        series(&mut chart, points, colour, name.to_owned())?;
    }
    let limit = LIMIT.as_secs_f64() * 1e3;
    if y.contains(&limit) {
        let line = [(rates.0 / 1.3, limit), ((rates.1 * 1.3).max(rates.0 * 2.0), limit)];
        let style = BLACK.mix(0.6).stroke_width(1);
        let drawn = chart.draw_series([PathElement::new(line, style)]).map_err(failed)?;
        drawn
            .label(format!("limit of p99: {} ms", plain(limit)))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

#[allow(clippy::trivially_copy_pass_by_ref, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn thousands(number: &f64) -> String {
    grouped(number.round() as u64)
}

/// Against 1/(1 - percentile), so that each further nine has as much room as the one before.
fn by_rarity(area: &Area<'_>, steps: &[&Outcome]) -> Result<(), Error> {
    // As many as can be told apart, evenly among them.
    let most = COLOURS.len();
    let shown: Vec<&&Outcome> = match steps.len() {
        few if few <= most => steps.iter().collect(),
        many => (0..most).map(|at| &steps[at * (many - 1) / (most - 1)]).collect(),
    };
    let rarest = shown.iter().filter_map(|step| step.all.curve.last()).map(|point| 1.0 / (1.0 - point.0));
    let rarest = rarest.fold(10.0, f64::max);
    let y = latencies(shown.iter().flat_map(|step| step.all.curve.iter().map(|point| point.1)));
    let percentile = |rarity: &f64| format!("{}%", (1e7 * (1.0 - 1.0 / rarity)).round() / 1e5);
    let x = (1.0..rarest * 1.2, "percentile of the events", &percentile as &dyn Fn(&f64) -> String);
    let mut chart = chart(area, "How rare a latency is", x, y)?;
    for (step, colour) in shown.into_iter().zip(COLOURS).rev() {
        let points = step.all.curve.iter().map(|(quantile, ms)| (1.0 / (1.0 - quantile), *ms)).collect();
        let label = format!("{}/s (p99 {} ms)", grouped(step.rate), figure(step.all.p99_ms));
        series(&mut chart, points, colour, label)?;
    }
    // Curves rise: this corner is free.
    legend(&mut chart, SeriesLabelPosition::LowerRight)
}
