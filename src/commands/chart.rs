//! Shared parts of the SVG charts of `bench` and `evaluate`.

use std::path::Path;

use anyhow::Error;
use plotters::chart::MeshStyle;
use plotters::coord::CoordTranslate;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
pub(crate) type Chart<'a, 'b, C> = ChartContext<'a, SVGBackend<'b>, C>;

/// Colours that stay distinct in grey and for most forms of colour blindness (Okabe and Ito).
pub(crate) const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Draws below a title and writes the SVG file.
pub(crate) fn write(
    path: &Path,
    size: (u32, u32),
    title: &str,
    draw: impl FnOnce(&Area<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let title = format!("deltarec {}: {title}", env!("CARGO_PKG_VERSION"));
        draw(&root.titled(&title, ("sans-serif", 20)).map_err(failed)?)?;
        root.present().map_err(failed)?;
    }
    std::fs::write(path, text).map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))
}

pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    anyhow::anyhow!("cannot draw: {error}")
}

/// A chart with a caption and space for the labels of its axes, in pixels.
pub(crate) fn builder<'a, 'b>(
    area: &'a Area<'b>,
    caption: &str,
    labels: (u32, u32),
) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.caption(caption, ("sans-serif", 17)).margin(12).margin_right(24);
    builder.x_label_area_size(labels.0).y_label_area_size(labels.1);
    builder
}

/// Draws axes and grid in the common style.
pub(crate) fn draw_mesh<'b, X, Y>(mesh: &mut MeshStyle<'_, '_, X, Y, SVGBackend<'b>>) -> Result<(), Error>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    mesh.label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .draw()
        .map_err(failed)
}

/// Draws a line with dots and adds it to the legend.
pub(crate) fn draw_series<X, Y>(
    chart: &mut Chart<'_, '_, Cartesian2d<X, Y>>,
    points: &[(f64, f64)],
    colour: RGBColor,
    label: String,
) -> Result<(), Error>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
    let drawn = chart.draw_series(line).map_err(failed)?.label(label);
    drawn.legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled()))).map_err(failed)?;
    Ok(())
}

pub(crate) fn draw_legend<'a, 'b: 'a, C: CoordTranslate>(
    chart: &mut Chart<'a, 'b, C>,
    position: SeriesLabelPosition,
) -> Result<(), Error> {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(failed)
}
