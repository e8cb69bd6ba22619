//! Charts of a run as SVG, drawn by hand: a few lines over a logarithmic scale.

use std::fmt::Write as _;

use crate::{contestant::Contestant, load::Figures, population::Codes, report::Report, sweep::Cell};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
/// Left, top, right and bottom of the drawing.
const FRAME: [f64; 4] = [70.0, 40.0, 500.0, 330.0];
const COLOURS: [&str; 6] = ["#0b6e4f", "#5fad8b", "#c1440e", "#7a5195", "#8d8d8d", "#c9c9c9"];

/// One chart: a file's name and its content.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Without the directory.
    pub file: &'static str,
    /// SVG.
    pub svg: String,
}

/// The charts of docs/performance.md.
#[must_use]
pub fn all(report: &Report) -> Vec<Chart> {
    let sizes: Vec<u32> = report.sizes.iter().map(|size| size.accounts).filter(|size| *size > 10).collect();
    let mut workers: Vec<u32> = report.cells.keys().map(|cell| cell.workers).collect();
    workers.sort_unstable();
    workers.dedup();
    let by_size = |contestant, accounts| Cell { accounts, workers: 1, ..cell(contestant) };
    let by_workers = |contestant, workers| Cell { workers, ..cell(contestant) };
    vec![
        Chart {
            file: "latency-by-accounts.svg",
            svg: draw(report, "A right code, one login at a time: median, µs", "accounts", &sizes, by_size, |f| f.p50),
        },
        Chart {
            file: "latency-by-concurrency.svg",
            svg: draw(
                report,
                "A right code at 10,000 accounts: 99th percentile, µs",
                "logins at once",
                &workers,
                by_workers,
                |f| f.p99,
            ),
        },
        Chart {
            file: "throughput-by-concurrency.svg",
            svg: draw(
                report,
                "Right codes let in a second at 10,000 accounts",
                "logins at once",
                &workers,
                by_workers,
                |f| f.rate,
            ),
        },
    ]
}

const fn cell(contestant: Contestant) -> Cell {
    Cell { accounts: 10_000, codes: Codes::Right, fresh_process: false, workers: 1, contestant }
}

fn draw(
    report: &Report,
    title: &str,
    axis: &str,
    xs: &[u32],
    at: impl Fn(Contestant, u32) -> Cell,
    figure: fn(&Figures) -> f64,
) -> String {
    let lines: Vec<(Contestant, Vec<(usize, f64)>)> = Contestant::ALL
        .into_iter()
        .map(|contestant| {
            let value = |x: &u32| report.cell(&at(contestant, *x)).map(figure).filter(|value| *value > 0.0);
            (contestant, xs.iter().enumerate().filter_map(|(place, x)| Some((place, value(x)?))).collect())
        })
        .collect();
    let values = lines.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| *value));
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(value), most.max(value)));
    let scale = Scale { low: least.log10().floor(), high: most.log10().ceil(), steps: xs.len() };
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut svg, title, axis, xs, &lines, &scale);
    svg
}

struct Scale {
    low: f64,
    high: f64,
    steps: usize,
}

impl Scale {
    fn x(&self, place: usize) -> f64 {
        let [left, _, right, _] = FRAME;
        let steps = self.steps.saturating_sub(1).max(1) as f64;
        left + 20.0 + (right - left - 40.0) * place as f64 / steps
    }

    fn y(&self, value: f64) -> f64 {
        let [_, top, _, bottom] = FRAME;
        bottom - (bottom - top) * (value.log10() - self.low) / (self.high - self.low).max(1.0)
    }
}

fn write(
    svg: &mut String,
    title: &str,
    axis: &str,
    xs: &[u32],
    lines: &[(Contestant, Vec<(usize, f64)>)],
    scale: &Scale,
) -> std::fmt::Result {
    let [left, _, right, bottom] = FRAME;
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"22\" font-size=\"15\">{title}</text>"
    )?;
    for power in scale.low as i32..=scale.high as i32 {
        let value = 10_f64.powi(power);
        let y = scale.y(value);
        writeln!(
            svg,
            "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            left - 8.0,
            y + 4.0
        )?;
    }
    for (place, x) in xs.iter().enumerate() {
        let at = scale.x(place);
        writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x}</text>", bottom + 18.0)?;
    }
    let middle = f64::midpoint(left, right);
    writeln!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{axis}</text>", bottom + 38.0)?;
    for (number, ((contestant, points), colour)) in lines.iter().zip(COLOURS).enumerate() {
        let path: Vec<String> =
            points.iter().map(|(place, value)| format!("{:.1},{:.1}", scale.x(*place), scale.y(*value))).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\"/>",
            path.join(" ")
        )?;
        for (place, value) in points {
            let (x, y) = (scale.x(*place), scale.y(*value));
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\" fill=\"{colour}\">{value:.0}</text>",
                y - 7.0
            )?;
        }
        let y = 60.0 + number as f64 * 22.0;
        writeln!(
            svg,
            "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            right + 20.0,
            right + 44.0,
            right + 52.0,
            y + 4.0,
            contestant.name()
        )?;
    }
    writeln!(svg, "</svg>")
}
