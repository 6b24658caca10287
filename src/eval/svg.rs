//! A plot of the divergence by part of the network, as an SVG document.

use std::fmt::Write as _;

use super::report::{AgainstScores, LayerScores};

/// Width of the drawing. Pixels.
const WIDTH: f64 = 720.0;
/// Height of the drawing. Pixels.
const HEIGHT: f64 = 400.0;
/// Room around the plot for axes and titles. Pixels.
const MARGIN: f64 = 64.0;
/// What a divergence of zero is drawn as: a logarithmic axis has none.
const KL_MIN: f64 = 1e-9;
/// Most labels below the axis; of more parts only some get one.
const LABELS_MAX: usize = 12;

/// The two curves of `against.layers` over a logarithmic axis; no curve where there is no layer.
pub fn plot(model: &str, against: &AgainstScores) -> String {
    let layers = &against.layers;
    let values = layers.iter().flat_map(|layer| [layer.kl_alone, layer.kl_up_to]);
    let decades = values.map(|kl| kl.max(KL_MIN).log10());
    let (low, high) = decades
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    // An axis needs at least one decade, and some even where nothing is drawn.
    let (low, high) = if low <= high { (low.floor(), high.ceil()) } else { (-1.0, 0.0) };
    let axis = Axis { low, high: high.max(low + 1.0), parts: layers.len() };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">KL divergence at the output, by quantised \
         part</text>\n\
         <text x=\"{MARGIN}\" y=\"42\" fill=\"#555\">{} against {}; nats, logarithmic</text>\n",
        escaped(model),
        escaped(&against.model)
    );
    axis.grid(&mut svg, layers);
    axis.curve(&mut svg, layers, "#c2410c", "this part and all before it", |one| one.kl_up_to);
    axis.curve(&mut svg, layers, "#1d4ed8", "this part alone", |one| one.kl_alone);
    svg.push_str("</svg>\n");
    svg
}

/// Where figures stand in the drawing.
struct Axis {
    /// Lowest and highest decade.
    low: f64,
    high: f64,
    parts: usize,
}

impl Axis {
    fn x(&self, part: usize) -> f64 {
        let steps = self.parts.saturating_sub(1).max(1) as f64;
        MARGIN + part as f64 / steps * (WIDTH - 2.0 * MARGIN)
    }

    fn y(&self, decade: f64) -> f64 {
        let share = (decade - self.low) / (self.high - self.low);
        HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN)
    }

    fn grid(&self, svg: &mut String, layers: &[LayerScores]) {
        for decade in self.low as i32..=self.high as i32 {
            let y = self.y(f64::from(decade));
            let (end, label) = (WIDTH - MARGIN, MARGIN - 8.0);
            let _ = writeln!(
                svg,
                "<line x1=\"{MARGIN}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{label}\" y=\"{:.1}\" text-anchor=\"end\">1e{decade}</text>",
                y + 4.0
            );
        }
        let every = layers.len().div_ceil(LABELS_MAX).max(1);
        let y = HEIGHT - MARGIN + 18.0;
        for (part, layer) in layers.iter().enumerate() {
            let is_last = part + 1 == layers.len();
            if is_last || (part % every == 0 && part + every <= layers.len()) {
                let name = escaped(layer.part.trim_start_matches("layer "));
                let x = self.x(part);
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{name}</text>"
                );
            }
        }
    }

    fn curve(
        &self,
        svg: &mut String,
        layers: &[LayerScores],
        colour: &str,
        name: &str,
        kl: impl Fn(&LayerScores) -> f64,
    ) {
        let place = |(part, layer): (usize, &LayerScores)| {
            (self.x(part), self.y(kl(layer).max(KL_MIN).log10()))
        };
        let places: Vec<_> = layers.iter().enumerate().map(place).collect();
        let points: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\">\
             <title>{name}</title></polyline>"
        );
        for (x, y) in places {
            let _ =
                writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let (x, y) = (WIDTH - MARGIN, if colour == "#c2410c" { 24.0 } else { 42.0 });
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>"
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
