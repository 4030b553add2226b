//! Plots as SVG: lines over a scale, with steps of a timeline marked. Colours come from the page's style.

use super::table::number;
use std::fmt::Write as _;

/// Room for the drawing and what surrounds it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// More marks than this hide what they mark.
const MARKS: usize = 20;
/// Colours that the page's style names.
const COLOURS: usize = 8;

/// A line with its name.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// What is drawn.
#[derive(Debug, Default)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) lines: Vec<Line>,
    /// Moments to be marked, with a word each.
    pub(super) marks: Vec<(f64, String)>,
    /// Each tenfold takes the same room from left to right.
    pub(super) log: bool,
    /// The top of the scale, where it is known.
    pub(super) top: Option<f64>,
    /// Lines go up in steps, as distributions do.
    pub(super) steps: bool,
    /// Each line begins where the one below ends.
    pub(super) stacked: bool,
}

struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    fn share(&self, value: f64) -> f64 {
        let on = |value: f64| {
            if self.log {
                value.max(1e-9).log10()
            } else {
                value
            }
        };
        let (from, to) = (on(self.from), on(self.to));
        ((on(value) - from) / (to - from).max(1e-12)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (from, to) = (
                self.from.log10().round() as i32,
                self.to.log10().round() as i32,
            );
            return (from..=to).map(|tens| 10f64.powi(tens)).collect();
        }
        let rough = (self.to - self.from) / 5.0;
        let tens = 10f64.powf(rough.max(1e-12).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|times| times * tens)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.from / step).ceil() as i64;
        (first..)
            .map(|n| n as f64 * step)
            .take_while(|value| *value <= self.to * 1.000_001)
            .collect()
    }
}

impl Plot {
    /// The plot with its title and the names of its lines, as a figure.
    pub(super) fn figure(mut self) -> String {
        if self.stacked {
            self.stack();
        }
        let mut page = format!("<figure><figcaption>{}</figcaption>", escape(&self.title));
        let (x, y) = self.scales();
        let _ = write!(
            page,
            "<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{}'>",
            escape(&self.title)
        );
        self.axes(&mut page, &x, &y);
        for (at, word) in self.marks.iter().take_while(|_| self.marks.len() <= MARKS) {
            let at = across(&x, *at);
            let _ = write!(
                page,
                "<line class='mark' x1='{at:.1}' x2='{at:.1}' y1='{TOP}' y2='{:.1}'><title>{}</title></line>",
                HEIGHT - BOTTOM,
                escape(word)
            );
        }
        for (number, line) in self.lines.iter().enumerate().rev() {
            self.line(&mut page, number, line, &x, &y);
        }
        page.push_str("</svg><ul class='legend'>");
        for (number, line) in self.lines.iter().enumerate() {
            let _ = write!(
                page,
                "<li><span class='swatch b{}'></span>{}</li>",
                number % COLOURS,
                escape(&line.name)
            );
        }
        page.push_str("</ul></figure>");
        page
    }

    fn stack(&mut self) {
        for number in 1..self.lines.len() {
            let (below, above) = self.lines.split_at_mut(number);
            for (point, under) in above[0].points.iter_mut().zip(&below[number - 1].points) {
                point.1 += under.1;
            }
        }
    }

    fn scales(&self) -> (Scale, Scale) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let (right, up) = (
            most(&mut points().map(|point| point.0)),
            most(&mut points().map(|point| point.1)),
        );
        let x = if self.log {
            let least = points().map(|point| point.0).fold(f64::MAX, f64::min);
            let tens = |value: f64| value.max(1e-3).log10();
            Scale {
                from: 10f64.powf(tens(least).floor()),
                to: 10f64.powf(tens(right).ceil().max(tens(least).floor() + 1.0)),
                log: true,
            }
        } else {
            Scale {
                from: 0.0,
                to: right.max(1e-9),
                log: false,
            }
        };
        let y = Scale {
            from: 0.0,
            to: self.top.unwrap_or(if up > 0.0 { up * 1.05 } else { 1.0 }),
            log: false,
        };
        (x, y)
    }

    fn axes(&self, page: &mut String, x: &Scale, y: &Scale) {
        let bottom = HEIGHT - BOTTOM;
        for value in x.ticks() {
            let at = across(x, value);
            let _ = write!(
                page,
                "<line class='grid' x1='{at:.1}' x2='{at:.1}' y1='{TOP}' y2='{bottom}'/>\
                 <text x='{at:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
                bottom + 16.0,
                number(value)
            );
        }
        for value in y.ticks() {
            let at = up(y, value);
            let _ = write!(
                page,
                "<line class='grid' x1='{LEFT}' x2='{:.1}' y1='{at:.1}' y2='{at:.1}'/>\
                 <text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                number(value)
            );
        }
        let _ = write!(
            page,
            "<text class='axis' x='{:.1}' y='{:.1}' text-anchor='middle'>{}</text>\
             <text class='axis' transform='translate(14 {:.1}) rotate(-90)' text-anchor='middle'>{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 8.0,
            escape(self.x),
            f64::midpoint(TOP, bottom),
            escape(self.y)
        );
    }

    fn line(&self, page: &mut String, number: usize, line: &Line, x: &Scale, y: &Scale) {
        let Some((first, _)) = line.points.first() else {
            return;
        };
        let colour = number % COLOURS;
        let mut path = String::new();
        let mut last = None;
        let start = if self.steps {
            Some((*first, 0.0))
        } else {
            None
        };
        for (right, high) in start.into_iter().chain(line.points.iter().copied()) {
            let (right, high) = (across(x, right), up(y, high));
            if let (true, Some(before)) = (self.steps, last) {
                let _ = write!(path, "L{right:.1} {before:.1}");
            }
            let letter = if last.is_none() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{right:.1} {high:.1}");
            last = Some(high);
        }
        if self.stacked {
            let (begin, end) = (
                across(x, *first),
                line.points.last().map_or(0.0, |point| point.0),
            );
            let (end, floor) = (across(x, end), up(y, 0.0));
            let _ = write!(
                page,
                "<path class='area b{colour}' d='{path}L{end:.1} {floor:.1}L{begin:.1} {floor:.1}Z'><title>{}</title></path>",
                escape(&line.name)
            );
        } else {
            let _ = write!(
                page,
                "<path class='line c{colour}' d='{path}'><title>{}</title></path>",
                escape(&line.name)
            );
        }
    }
}

fn across(scale: &Scale, value: f64) -> f64 {
    LEFT + scale.share(value) * (WIDTH - LEFT - RIGHT)
}

fn up(scale: &Scale, value: f64) -> f64 {
    TOP + (1.0 - scale.share(value)) * (HEIGHT - TOP - BOTTOM)
}

/// Text that means itself inside a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_round_ticks() {
        let ticks = |from, to, log| Scale { from, to, log }.ticks();
        assert_eq!(
            ticks(0.0, 1.0, false),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(ticks(1.0, 1_000.0, true), [1.0, 10.0, 100.0, 1_000.0]);
    }

    #[test]
    fn names_cannot_break_the_page() {
        let plot = Plot {
            title: "<script>".to_owned(),
            lines: vec![Line {
                name: "a'b".to_owned(),
                points: vec![(0.0, 0.0), (1.0, 2.0)],
            }],
            ..Plot::default()
        };
        let figure = plot.figure();
        assert!(
            !figure.contains("<script>") && figure.contains("a&#39;b"),
            "{figure}"
        );
    }
}
