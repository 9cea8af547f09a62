//! Draws what was counted, and the laws, on logarithmic axes.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::law::{Law, QUANTITIES};
use super::phases::Growth;
use super::results::Results;
use super::shape::Shape;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (960, 640);
const COLOURS: [RGBColor; 2] = [RGBColor(31, 119, 180), RGBColor(214, 96, 20)];
const FONT: &str = "sans-serif";

/// Quantities along one axis of sizes.
struct Panel {
    title: &'static str,
    axis: &'static str,
    /// The size on the axis; none of a shape that is not on it.
    size: fn(Shape) -> Option<usize>,
    quantities: [&'static str; 2],
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "ZooKeeper: writes a second",
        axis: "processors",
        size: |shape| {
            let on_axis = shape.is_on_axis(|one, of| one.processors = of.processors);
            on_axis.then_some(shape.processors)
        },
        quantities: ["counting: writes a second", "at rest: writes a second"],
    },
    Panel {
        title: "ZooKeeper: writes a second",
        axis: "partitions",
        size: |shape| {
            let on_axis = shape.is_on_axis(|one, of| one.partitions = of.partitions);
            on_axis.then_some(shape.partitions)
        },
        quantities: ["counting: writes a second", "rebalance: writes"],
    },
    Panel {
        title: "ZooKeeper: requests of a restoration",
        axis: "locks: processors × ranges",
        size: |shape| (shape.partitions == 120).then(|| shape.active() * shape.ranges()),
        quantities: ["restoration: writes", "restoration: reads"],
    },
    Panel {
        title: "ZooKeeper: requests of a start",
        axis: "locks: processors × ranges",
        size: |shape| (shape.partitions == 120).then(|| shape.active() * shape.ranges()),
        quantities: ["start: writes", "start: reads"],
    },
];

/// Draws them into a file.
///
/// # Errors
/// The file cannot be written.
pub fn draw(results: &Results, file: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", file.display());
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    for (area, panel) in root.split_evenly((2, 2)).iter().zip(&PANELS) {
        panel
            .draw(area, &results.growths)
            .map_err(|error| failed(&error))?;
    }
    root.present().map_err(|error| failed(&error))
}

const fn number(size: usize) -> f64 {
    size as f64
}

/// A quantity as counted and as its law has it, by size.
struct Line {
    name: &'static str,
    counted: Vec<(f64, f64)>,
    law: Vec<(f64, f64)>,
}

impl Panel {
    fn lines(&self, growths: &[Growth]) -> Vec<Line> {
        let quantities = QUANTITIES
            .iter()
            .filter(|one| self.quantities.contains(&one.name));
        let line = |quantity: &super::law::Quantity| {
            let law: Law = quantity.law(growths);
            let on_axis = growths.iter().filter_map(|growth| {
                let size = (self.size)(growth.shape)?;
                let law = quantity.terms.iter().zip(&law.terms);
                let law = law
                    .map(|((_, term), (_, by))| term(growth.shape) * by)
                    .sum();
                Some((number(size), (quantity.of)(growth), law))
            });
            let mut points: Vec<(f64, f64, f64)> = on_axis.collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Line {
                name: quantity.name,
                counted: points
                    .iter()
                    .map(|(size, count, _)| (*size, *count))
                    .collect(),
                law: points.iter().map(|(size, _, law)| (*size, *law)).collect(),
            }
        };
        quantities.map(line).collect()
    }

    fn draw(&self, area: &Area<'_>, growths: &[Growth]) -> Result<(), Box<dyn std::error::Error>> {
        let lines = self.lines(growths);
        let all = || {
            lines
                .iter()
                .flat_map(|line| line.counted.iter().chain(&line.law))
        };
        let bounds = |values: &dyn Fn(&(f64, f64)) -> f64| {
            let least = all().map(values).fold(f64::INFINITY, f64::min);
            let most = all().map(values).fold(0.0, f64::max);
            (least.max(0.1) * 0.7)..(most.max(1.0) * 1.5)
        };
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(self.title, (FONT, 16))
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(
                bounds(&|at| at.0).log_scale(),
                bounds(&|at| at.1).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(self.axis)
            .label_style((FONT, 12))
            .light_line_style(WHITE)
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            let of_law = PathElement::new(line.law.clone(), colour.stroke_width(1));
            chart.draw_series([of_law])?;
            let dots = line
                .counted
                .iter()
                .map(|at| Circle::new(*at, 4, colour.filled()));
            let legend = move |(x, y)| Circle::new((x + 8, y), 4, colour.filled());
            chart.draw_series(dots)?.label(line.name).legend(legend);
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT, 12))
            .background_style(WHITE)
            .border_style(RGBColor(200, 200, 200))
            .draw()?;
        Ok(())
    }
}
