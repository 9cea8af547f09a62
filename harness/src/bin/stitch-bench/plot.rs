//! The table as bars.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Results, thousands};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (960, 640);
const OURS: RGBColor = RGBColor(31, 119, 180);
const OTHERS: RGBColor = RGBColor(170, 170, 170);
const FONT: &str = "sans-serif";

/// One bar.
struct Bar {
    name: &'static str,
    value: f64,
    ours: bool,
}

/// Bars of one unit.
struct Panel {
    title: &'static str,
    bars: Vec<Bar>,
}

/// Draws all that was measured.
pub(crate) fn draw(results: &Results, file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", file.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    for (area, panel) in root.split_evenly((2, 2)).iter().zip(panels(results)) {
        panel.draw(area).map_err(|error| failed(&error))?;
    }
    root.present().map_err(|error| failed(&error))
}

fn ours(name: &'static str, value: f64) -> Bar {
    Bar {
        name,
        value,
        ours: true,
    }
}

fn other(name: &'static str, value: f64) -> Bar {
    Bar {
        name,
        value,
        ours: false,
    }
}

fn panels(results: &Results) -> Vec<Panel> {
    let mut panels = Vec::new();
    if let Some(counting) = &results.counting {
        let (uniform, zipf) = (counting.uniform, counting.zipf);
        panels.push(Panel {
            title: "(a) events counted a second",
            bars: vec![
                other("naive, uniform", uniform.naive.events_per_second()),
                ours("Stitch, uniform", uniform.processor.events_per_second()),
                other("naive, zipf", zipf.naive.events_per_second()),
                ours("Stitch, zipf", zipf.processor.events_per_second()),
            ],
        });
    }
    let mut cells = Vec::new();
    if let Some(counting) = &results.counting {
        cells.push(other("bare driver", counting.bare.cells_per_second()));
        cells.push(ours(
            "processor",
            counting.uniform.processor.cells_per_second(),
        ));
    }
    if let Some(auditing) = &results.auditing {
        cells.push(other("bare scan", auditing.bare.cells_per_second()));
        cells.push(ours("plan", auditing.cells_per_second()));
    }
    panels.push(Panel {
        title: "(b), (c) cells a second",
        bars: cells,
    });
    let mut held = Vec::new();
    if let Some(locks) = &results.locks {
        held.push(ours("p50", locks.percentile(50)));
        held.push(ours("p99", locks.percentile(99)));
        held.push(ours("longest", locks.longest()));
    }
    if let Some(locks) = &results.locks_large {
        held.push(ours("5×: p50", locks.percentile(50)));
        held.push(ours("5×: p99", locks.percentile(99)));
        held.push(ours("5×: longest", locks.longest()));
    }
    panels.push(Panel {
        title: "(d), (e) lock of a range held, ms",
        bars: held,
    });
    if let Some(memory) = &results.memory {
        panels.push(Panel {
            title: "(f) peak memory, MiB",
            bars: vec![
                ours("processor", memory.short.processor),
                ours("10× backlog", memory.long.processor),
                ours("plan", memory.short.plan_after),
                ours("10× log", memory.long.plan_after),
            ],
        });
    }
    panels.retain(|panel| !panel.bars.is_empty());
    panels
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        const HEAD: f64 = 1.15;
        let highest = self
            .bars
            .iter()
            .map(|bar| bar.value)
            .fold(0.0, f64::max)
            .max(1.0)
            * HEAD;
        let bars = u32::try_from(self.bars.len())?;
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .caption(self.title, (FONT, 16))
            .x_label_area_size(24)
            .build_cartesian_2d(0.0..f64::from(bars), 0.0..highest)?;
        let centred = |size: u32, vertical| {
            (FONT, size)
                .into_font()
                .color(&BLACK)
                .pos(Pos::new(HPos::Center, vertical))
        };
        for (index, bar) in self.bars.iter().enumerate() {
            let left = f64::from(u32::try_from(index)?);
            let colour = if bar.ours { OURS } else { OTHERS };
            let corners = [(left + 0.15, 0.0), (left + 0.85, bar.value)];
            let middle = left + 0.5;
            chart.draw_series([Rectangle::new(corners, colour.filled())])?;
            let value = thousands(bar.value);
            chart.draw_series([Text::new(
                value,
                (middle, bar.value),
                centred(13, VPos::Bottom),
            )])?;
            let (x, y) = chart.backend_coord(&(middle, 0.0));
            let (left, top) = area.get_base_pixel();
            area.draw_text(bar.name, &centred(12, VPos::Top), (x - left, y - top + 4))?;
        }
        Ok(())
    }
}
