//! Plots: for each workload the servers' bars, by the floor's. They can be read on light and on dark ground.

use std::fmt::Write as _;

use super::{
    results::{FLOOR, Ratio, Section},
    table::figure,
};

const WIDTH: f64 = 640.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 130.0;
const LONGEST: f64 = 400.0;
const BAR: f64 = 18.0;
const LINE: f64 = 28.0;
const TOP: f64 = 56.0;

/// The name of a section's plot.
pub(crate) fn file_of(section: &Section) -> String {
    format!("{}.svg", section.workload.name())
}

/// A section's plot.
pub(crate) fn of_section(section: &Section) -> String {
    let bars: Vec<(&str, Option<Ratio>)> =
        section.servers.iter().map(|server| (&*server.server, section.ratio(&server.server, FLOOR))).collect();
    let measure = section.workload.measure().name(section.workload.unit());
    drawn(&section.title, &format!("{measure}, as a multiple of the floor's; less is better"), &bars)
}

fn drawn(title: &str, what: &str, bars: &[(&str, Option<Ratio>)]) -> String {
    let most = bars.iter().filter_map(|bar| bar.1).map(|ratio| ratio.most).fold(1.0, f64::max);
    let (height, scale) = (TOP + LINE * bars.len() as f64 + 12.0, LONGEST / most);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n{STYLE}\n"
    );
    let (title, what) = (escaped(title), escaped(what));
    let _ = writeln!(svg, "<title>{title}</title>\n<text x=\"12\" y=\"22\" class=\"title\">{title}</text>");
    let _ = writeln!(svg, "<text x=\"12\" y=\"40\" class=\"what\">{what}</text>");
    for (index, (name, ratio)) in bars.iter().enumerate() {
        svg.push_str(&bar(name, *ratio, TOP + LINE * index as f64, scale));
    }
    let floor = LEFT + scale;
    let _ = writeln!(
        svg,
        "<line x1=\"{floor:.1}\" x2=\"{floor:.1}\" y1=\"{}\" y2=\"{}\" class=\"floor\"/>",
        TOP - 6.0,
        height - 8.0
    );
    svg.push_str("</svg>\n");
    svg
}

/// A name, its bar, the range of its rounds and its value.
fn bar(name: &str, ratio: Option<Ratio>, y: f64, scale: f64) -> String {
    let (middle, base) = (y + BAR / 2.0, y + BAR / 2.0 + 4.5);
    let mut svg = format!("<text x=\"{:.1}\" y=\"{base:.1}\" class=\"name\">{}</text>\n", LEFT - 8.0, escaped(name));
    let Some(Ratio { median, least, most }) = ratio else {
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{base:.1}\" class=\"what\">no figure</text>", LEFT + 8.0);
        return svg;
    };
    let class = if name.starts_with("wharf") { "own" } else { "other" };
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" class=\"{class}\"/>",
        median * scale
    );
    let (from, to) = (LEFT + least * scale, LEFT + most * scale);
    let _ =
        writeln!(svg, "<line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" class=\"range\"/>");
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{base:.1}\" class=\"value\">{}</text>", to + 8.0, figure(median));
    svg
}

const STYLE: &str = "<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .what { fill: #59636e; font-size: 12px }
  .name { text-anchor: end }
  .own { fill: #2f6feb }
  .other { fill: #9aa4af }
  .range { stroke: #1f2328; stroke-width: 1.5 }
  .floor { stroke: #59636e; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .what { fill: #9198a1 }
    .own { fill: #4c8dff }
    .other { fill: #6e7781 }
    .range { stroke: #e6edf3 }
    .floor { stroke: #9198a1 }
  }
</style>";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each element that is opened is closed, in order, and each attribute has its quotes.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').expect("a tag that ends");
            assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{tag}");
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn a_plot_is_well_formed_whatever_a_server_is_called() {
        let ratio = |median| Some(Ratio { median, least: median / 2.0, most: median * 2.0 });
        let svg = drawn("1 < 2 & 3", "a \"b\"", &[("floor", ratio(1.0)), ("<x> & y", ratio(3.0)), ("none", None)]);
        assert_well_formed(&svg);
        assert_eq!((svg.matches("<rect").count(), svg.matches("no figure").count()), (2, 1));
    }

    #[test]
    fn the_longest_range_fills_the_room() {
        let svg = drawn("", "", &[("x", Some(Ratio { median: 2.0, least: 1.0, most: 4.0 }))]);
        assert!(svg.contains("width=\"200.0\"") && svg.contains("x2=\"530.0\""), "{svg}");
    }
}
