//! Draws the results as bar charts.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{Results, thousands};
use crate::serving::{KEYS, QueryComparison};
use crate::totalling::Adding;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (960, 640);
const OURS: RGBColor = RGBColor(31, 119, 180);
const OTHERS: RGBColor = RGBColor(170, 170, 170);
const FONT: &str = "sans-serif";

struct Bar {
    name: &'static str,
    value: f64,
    ours: bool,
}

/// Bars with a common unit.
struct Panel {
    title: &'static str,
    bars: Vec<Bar>,
}

/// Draws into `folder` each picture of which every figure was measured in this run, and returns their names: a partly
/// drawn one would suggest that the rest was never measured.
pub(crate) fn draw(results: &Results, folder: &Path) -> Result<Vec<&'static str>> {
    let pictures = [
        ("performance.svg", panels(results)),
        ("performance-api.svg", serving_panels(results)),
        ("performance-totals.svg", totalling_panels(results)),
    ];
    let mut drawn = Vec::new();
    for (name, panels) in pictures {
        if let Some(panels) = panels {
            draw_all(&panels, &folder.join(name))?;
            drawn.push(name);
        }
    }
    Ok(drawn)
}

fn draw_all(panels: &[Panel; 4], file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", file.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    for (area, panel) in root.split_evenly((2, 2)).iter().zip(panels) {
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

/// (a) to (f).
fn panels(results: &Results) -> Option<[Panel; 4]> {
    let (counting, auditing) = (results.counting.as_ref()?, results.auditing.as_ref()?);
    let (locks, large) = (results.locks.as_ref()?, results.locks_large.as_ref()?);
    let (uniform, zipf) = (counting.uniform, counting.zipf);
    let memory = results.memory.as_ref()?;
    Some([
        Panel {
            title: "(a) events counted a second",
            bars: vec![
                other("naive, uniform", uniform.naive.events_per_second()),
                ours("Stitch, uniform", uniform.processor.events_per_second()),
                other("naive, zipf", zipf.naive.events_per_second()),
                ours("Stitch, zipf", zipf.processor.events_per_second()),
            ],
        },
        Panel {
            title: "(b), (c) cells a second",
            bars: vec![
                other("bare driver", counting.bare.cells_per_second()),
                ours("processor", uniform.processor.cells_per_second()),
                other("bare scan", auditing.bare.cells_per_second()),
                ours("plan", auditing.cells_per_second()),
            ],
        },
        Panel {
            title: "(d), (e) lock of a range held, ms",
            bars: vec![
                ours("p50", locks.percentile(50)),
                ours("p99", locks.percentile(99)),
                ours("longest", locks.longest()),
                ours("5×: p50", large.percentile(50)),
                ours("5×: p99", large.percentile(99)),
                ours("5×: longest", large.longest()),
            ],
        },
        Panel {
            title: "(f) peak memory, MiB",
            bars: vec![
                ours("processor", memory.short.processor),
                ours("10× backlog", memory.long.processor),
                ours("plan", memory.short.plan_after),
                ours("10× log", memory.long.plan_after),
            ],
        },
    ])
}

/// (g).
fn serving_panels(results: &Results) -> Option<[Panel; 4]> {
    let serving = results.serving.as_ref()?;
    let pair = |title, answered: &QueryComparison, times: f64| Panel {
        title,
        bars: vec![
            other("bare driver", answered.bare_per_second() * times),
            ours("API", answered.api.per_second() * times),
        ],
    };
    let (count, pages) = (&serving.overload, &serving.overload_pages);
    let share = |part: f64, of: f64| part / of * 100.0;
    Some([
        pair("(g) single counts a second", &serving.count, 1.0),
        pair("(g) series of 30 days a second", &serving.series, 1.0),
        pair(
            "(g) counts a second, in pages of 200",
            &serving.counts,
            f64::from(KEYS),
        ),
        Panel {
            title: "(g) answered, % of the capacity",
            bars: vec![
                ours(
                    "counts, 1×",
                    share(count.once.per_second(), count.once_asked),
                ),
                ours(
                    "counts, 3×",
                    share(count.more.per_second(), count.once_asked),
                ),
                ours(
                    "pages, 1×",
                    share(pages.once.per_second(), pages.once_asked),
                ),
                ours(
                    "pages, 3×",
                    share(pages.more.per_second(), pages.once_asked),
                ),
            ],
        },
    ])
}

/// (h), if all its topics were added up.
fn totalling_panels(results: &Results) -> Option<[Panel; 4]> {
    let totalling = results.totalling.as_ref()?;
    let [few, more, most] = totalling.adding.as_slice() else {
        return None;
    };
    let added = |title, adding: &Adding| Panel {
        title,
        bars: vec![
            ours("Stitch", adding.per_cpu_second(&adding.stitch)),
            other("DuckDB", adding.per_cpu_second(&adding.duckdb)),
            other("Spark", adding.per_cpu_second(&adding.spark)),
        ],
    };
    let copying = &totalling.copying;
    Some([
        Panel {
            title: "(h) records read a second",
            bars: vec![
                other("discarded", copying.discarded().per_second()),
                ours("archived", copying.archived().per_second()),
            ],
        },
        added("(h) few cells: records a CPU second", few),
        added("(h) ten times the cells", more),
        added("(h) a hundred times the cells", most),
    ])
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
