//! The confusion matrix and the reliability diagram as SVG.
//!
//! All text is drawn as outlines, so the pictures look the same with and without Korean fonts.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::glyphs::GLYPHS;
use super::metrics::{BINS, Bin, Confusion, expected_calibration_error};
use crate::sentiment::labels::Sentiment;

const INK: &str = "#1b2733";
const QUIET: &str = "#5d6b78";
const RULE: &str = "#d5dbe1";
const BLUE: [f64; 3] = [24.0, 90.0, 157.0];
const BAR: &str = "#3f7fbf";
const GAP: &str = "#e07b39";

/// Where text stands against its x.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

struct Canvas {
    width: f64,
    height: f64,
    body: String,
    letters: BTreeSet<usize>,
}

impl Canvas {
    fn new(width: f64, height: f64) -> Self {
        let mut canvas = Self { width, height, body: String::new(), letters: BTreeSet::new() };
        canvas.rect([0.0, 0.0, width, height], "fill=\"#fff\"");
        canvas
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    /// A rectangle of x, y, width and height.
    fn rect(&mut self, [x, y, w, h]: [f64; 4], style: &str) {
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" {style}/>"
        ));
    }

    /// A line from x, y to x, y.
    fn line(&mut self, [x1, y1, x2, y2]: [f64; 4], style: &str) {
        self.push(format_args!("<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" {style}/>"));
    }

    /// Text with its baseline at y, `size` pixels to the em.
    fn text(&mut self, [x, y, size]: [f64; 3], anchor: Anchor, colour: &str, text: &str) {
        let glyphs: Vec<usize> = text.chars().filter_map(glyph).collect();
        let advance: u32 = glyphs.iter().map(|i| u32::from(GLYPHS[*i].1)).sum();
        let width = f64::from(advance) * size / 1000.0;
        let left = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        let scale = size / 1000.0;
        self.push(format_args!(
            "<g transform=\"translate({left:.1} {y:.1}) scale({scale})\" fill=\"{colour}\">"
        ));
        let mut at = 0;
        for i in glyphs {
            let (letter, advance, path) = GLYPHS[i];
            if !path.is_empty() {
                self.push(format_args!("<use href=\"#g{:x}\" x=\"{at}\"/>", letter as u32));
                self.letters.insert(i);
            }
            at += u32::from(advance);
        }
        self.push(format_args!("</g>"));
    }

    /// The whole file; `title` is what a screen reader says.
    fn finish(self, title: &str) -> String {
        let (w, h) = (self.width, self.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" \
             height=\"{h}\" role=\"img\">\n<title>{title}</title>\n<defs>\n"
        );
        for i in self.letters {
            let (letter, _, path) = GLYPHS[i];
            let _ = writeln!(svg, "<path id=\"g{:x}\" d=\"{path}\"/>", letter as u32);
        }
        svg + "</defs>\n" + &self.body + "</svg>\n"
    }
}

fn glyph(letter: char) -> Option<usize> {
    GLYPHS.binary_search_by_key(&letter, |glyph| glyph.0).ok()
}

/// White for 0, deep blue for 1.
fn shade(share: f64) -> String {
    let [r, g, b] = BLUE.map(|c| (255.0 + (c - 255.0) * share).round() as u8);
    format!("fill=\"#{r:02x}{g:02x}{b:02x}\"")
}

/// The confusion matrix: a row for each true label, its cells shaded and labelled with the share
/// of the row; a fourth column where answers could not be read.
pub fn confusion(confusion: &Confusion) -> String {
    const CELL: f64 = 108.0;
    const LEFT: f64 = 96.0;
    const TOP: f64 = 122.0;
    let unreadable = confusion.unreadable.iter().any(|n| *n > 0);
    let columns = if unreadable { 4 } else { 3 };
    let width = LEFT + CELL * f64::from(columns) + 28.0;
    let mut canvas = Canvas::new(width, TOP + CELL * 3.0 + 28.0);
    let summary = format!(
        "댓글 {}개 · 정확도 {:.3} · 매크로 F1 {:.3}",
        confusion.total(),
        confusion.accuracy(),
        confusion.macro_average().f1
    );
    canvas.text([28.0, 40.0, 21.0], Anchor::Start, INK, "혼동 행렬");
    canvas.text([28.0, 62.0, 13.0], Anchor::Start, QUIET, &summary);
    let middle = |i: usize| CELL * (i as f64 + 0.5);
    canvas.text([LEFT + CELL * 1.5, TOP - 32.0, 12.5], Anchor::Middle, QUIET, "모델의 답");
    canvas.text([LEFT - 10.0, TOP - 10.0, 12.5], Anchor::End, QUIET, "정답");
    for class in Sentiment::ALL {
        let i = class.index();
        let name = class.korean();
        canvas.text([LEFT + middle(i), TOP - 10.0, 15.0], Anchor::Middle, INK, name);
        canvas.text([LEFT - 10.0, TOP + middle(i) + 5.0, 15.0], Anchor::End, INK, name);
        let support = confusion.support(class);
        let counts = confusion.counts[i].into_iter().chain([confusion.unreadable[i]]);
        for (j, count) in counts.take(columns as usize).enumerate() {
            let share = if support == 0 { 0.0 } else { count as f64 / support as f64 };
            let (x, y) = (LEFT + CELL * j as f64, TOP + CELL * i as f64);
            canvas.rect([x + 1.5, y + 1.5, CELL - 3.0, CELL - 3.0], &shade(share));
            let ink = if share > 0.5 { "#fff" } else { INK };
            let centre = x + CELL / 2.0;
            canvas.text([centre, y + 56.0, 24.0], Anchor::Middle, ink, &count.to_string());
            let percent = format!("{:.0}%", share * 100.0);
            canvas.text([centre, y + 78.0, 13.0], Anchor::Middle, ink, &percent);
        }
    }
    if unreadable {
        canvas.text([LEFT + middle(3), TOP - 10.0, 15.0], Anchor::Middle, INK, "읽지 못함");
    }
    let all = [LEFT, TOP, CELL * f64::from(columns), CELL * 3.0];
    canvas.rect(all, &format!("fill=\"none\" stroke=\"{RULE}\""));
    canvas.finish(&format!("혼동 행렬: {summary}"))
}

/// The reliability diagram: for answers of about the same probability, the share that is right,
/// and below it how many answers there are.
pub fn reliability(bins: &[Bin; BINS]) -> String {
    const LEFT: f64 = 74.0;
    const TOP: f64 = 92.0;
    const SIDE: f64 = 360.0;
    const COUNTS_TOP: f64 = TOP + SIDE + 22.0;
    const COUNTS: f64 = 70.0;
    let mut canvas = Canvas::new(LEFT + SIDE + 36.0, COUNTS_TOP + COUNTS + 58.0);
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let summary = format!("댓글 {total}개 · ECE {:.3} · 구간 {BINS}개", expected_calibration_error(bins));
    canvas.text([28.0, 40.0, 21.0], Anchor::Start, INK, "신뢰도 다이어그램");
    canvas.text([28.0, 62.0, 13.0], Anchor::Start, QUIET, &summary);

    let x = |p: f64| LEFT + SIDE * p;
    let y = |share: f64| TOP + SIDE * (1.0 - share);
    let rule = format!("stroke=\"{RULE}\"");
    for tick in 0..=5 {
        let value = f64::from(tick) / 5.0;
        canvas.line([LEFT, y(value), LEFT + SIDE, y(value)], &rule);
        canvas.line([x(value), TOP, x(value), TOP + SIDE], &rule);
        let label = format!("{value:.1}");
        canvas.text([LEFT - 8.0, y(value) + 4.0, 12.0], Anchor::End, QUIET, &label);
        let below = COUNTS_TOP + COUNTS + 18.0;
        canvas.text([x(value), below, 12.0], Anchor::Middle, QUIET, &label);
    }
    let gap_style = format!("fill=\"{GAP}\" fill-opacity=\"0.35\" stroke=\"{GAP}\"");
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    for (k, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
        let step = SIDE / BINS as f64;
        let (left, width) = (LEFT + step * k as f64 + 1.0, step - 2.0);
        let bar = [left, y(bin.accuracy), width, SIDE * bin.accuracy];
        canvas.rect(bar, &format!("fill=\"{BAR}\""));
        let (low, high) = (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence));
        let gap = [left, y(high), width, SIDE * (high - low)];
        canvas.rect(gap, &gap_style);
        let height = COUNTS * bin.count as f64 / most as f64;
        let count = [left, COUNTS_TOP + COUNTS - height, width, height];
        canvas.rect(count, &format!("fill=\"{QUIET}\""));
    }
    let diagonal = format!("stroke=\"{INK}\" stroke-width=\"1.2\" stroke-dasharray=\"5 4\"");
    canvas.line([x(0.0), y(0.0), x(1.0), y(1.0)], &diagonal);
    let floor = COUNTS_TOP + COUNTS;
    canvas.line([LEFT, floor, LEFT + SIDE, floor], &rule);

    legend(&mut canvas, [LEFT + 12.0, TOP + 14.0], &gap_style);
    let most = format!("{most}개");
    canvas.text([LEFT - 8.0, COUNTS_TOP + 10.0, 12.0], Anchor::End, QUIET, &most);
    let bottom = COUNTS_TOP + COUNTS + 40.0;
    canvas.text([x(0.5), bottom, 12.5], Anchor::Middle, QUIET, "모델이 답에 준 확률");
    canvas.finish(&format!("신뢰도 다이어그램: {summary}"))
}

/// What the diagram's two colours mean.
fn legend(canvas: &mut Canvas, [left, top]: [f64; 2], gap_style: &str) {
    let swatches = [("정답 비율", format!("fill=\"{BAR}\"")), ("확률과의 차이", gap_style.to_owned())];
    for (row, (name, style)) in swatches.iter().enumerate() {
        let top = top + 20.0 * row as f64;
        canvas.rect([left, top, 14.0, 11.0], style);
        canvas.text([left + 20.0, top + 10.0, 12.5], Anchor::Start, INK, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::{Scored, reliability as bins_of};

    fn example() -> (Confusion, [Bin; BINS]) {
        let rows: Vec<Scored> = (0..50)
            .map(|i| (Sentiment::ALL[i % 3], [0.02 * i as f64, 0.5 - 0.01 * i as f64, 0.5 - 0.01 * i as f64]))
            .collect();
        let pairs = rows.iter().map(|(truth, _)| (*truth, None));
        (Confusion::of(pairs), bins_of(&rows))
    }

    #[test]
    fn every_letter_has_an_outline() {
        let (matrix, bins) = example();
        for svg in [confusion(&matrix), reliability(&bins)] {
            assert!(!svg.contains("<text"));
            let uses: BTreeSet<&str> =
                svg.split("<use href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            for id in &uses {
                assert!(svg.contains(&format!("<path id=\"{id}\"")), "{id}");
            }
        }
        // The words above, read from this file, are all in the generated table.
        let source = include_str!("picture.rs");
        let words = source.split("mod tests").next().unwrap();
        for letter in words.chars().filter(|c| ('가'..='힣').contains(c)) {
            assert!(glyph(letter).is_some(), "{letter}: run scripts/make_eval_glyphs.py");
        }
        for letter in Sentiment::ALL.iter().flat_map(|s| s.korean().chars()) {
            assert!(glyph(letter).is_some(), "{letter}: run scripts/make_eval_glyphs.py");
        }
    }

    #[test]
    fn glyphs_are_sorted() {
        assert!(GLYPHS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
