//! Keys and values into the cache, and attention over it.

use super::*;

/// A cache whose slots hold one sequence each, and the tokens that come next.
struct Cache {
    /// `[token][page]`
    pages: Vec<Vec<Guarded>>,
    /// Each token is in a slot of its own.
    positions: Vec<i32>,
    /// The host's view of `pages`.
    content: Vec<Vec<Page>>,
    buffers: [Guarded; 4],
    pages_max: usize,
    rotations: Vec<f32>,
}

/// A page as it lies in memory.
#[derive(Clone)]
struct Page {
    bytes: Vec<u8>,
    head_dim: usize,
    n_kv_heads: usize,
}

impl Page {
    /// Nothing but NaN and -1.
    fn poisoned(shape: &Shape) -> Self {
        let (bytes, c) = (vec![0xff; shape.page_bytes()], &shape.config);
        Self { bytes, head_dim: c.head_dim, n_kv_heads: c.n_kv_heads }
    }

    /// Where the high and the low byte of an element lie; `head` counts layers, keys and values, and kv
    /// heads.
    fn at(&self, head: usize, token: usize, element: usize) -> [usize; 2] {
        let d = self.head_dim;
        let first = head * PAGE_TOKENS * 2 * d;
        [0, 1].map(|is_low| match head / self.n_kv_heads % 2 {
            0 => first + token * 2 * d + twin::in_key(token, is_low * d + element, d),
            _ => first + twin::in_values(token, is_low, element, d),
        })
    }

    fn unit(&self, head: usize, token: usize) -> std::ops::Range<usize> {
        let n_heads = self.bytes.len() / (PAGE_TOKENS * (2 * self.head_dim + 4));
        let first = n_heads * PAGE_TOKENS * 2 * self.head_dim + (head * PAGE_TOKENS + token) * 4;
        first..first + 4
    }

    fn put(&mut self, head: usize, token: usize, (levels, unit): &twin::Head) {
        for (element, level) in levels.iter().enumerate() {
            let (places, high) = (self.at(head, token, element), (level + 128) >> 8);
            for (place, value) in places.into_iter().zip([high, level - high * 256]) {
                self.bytes[place] = i8::try_from(value).unwrap() as u8;
            }
        }
        let place = self.unit(head, token);
        self.bytes[place].copy_from_slice(&unit.to_le_bytes());
    }

    fn get(&self, head: usize, token: usize) -> twin::Head {
        let level = |element| {
            let [high, low] = self.at(head, token, element).map(|at| self.bytes[at] as i8);
            i32::from(high) * 256 + i32::from(low)
        };
        let unit = self.bytes[self.unit(head, token)].try_into().unwrap();
        ((0..self.head_dim).map(level).collect(), f32::from_le_bytes(unit))
    }
}

impl Cache {
    /// Holds something before each position, at it too with `holds_own`, and NaN behind.
    fn new(bench: &mut Bench, positions: &[usize], holds_own: bool) -> Self {
        const PAGES_MAX: usize = 3;
        let c = bench.shape().config.clone();
        let (n, d) = (positions.len(), c.head_dim);
        let mut content = Vec::new();
        for position in positions {
            let end = position + usize::from(holds_own);
            let pages: Vec<Page> = (0..position / PAGE_TOKENS + 1)
                .map(|number| {
                    let here = end.saturating_sub(number * PAGE_TOKENS).min(PAGE_TOKENS);
                    let mut page = Page::poisoned(bench.shape());
                    for head in 0..c.n_layers * 2 * c.n_kv_heads {
                        for token in 0..here {
                            let some: Vec<f32> = bench.floats(d).iter().map(|x| x * 0.25).collect();
                            page.put(head, token, &twin::fine_levels(&some));
                        }
                    }
                    page
                })
                .collect();
            content.push(pages);
        }
        let pages: Vec<Vec<Guarded>> = content
            .iter()
            .map(|pages| pages.iter().map(|page| bench.holding(&page.bytes)).collect())
            .collect();
        let mut table = vec![u64::MAX; n * PAGES_MAX];
        // Slots in another order than tokens.
        let slots: Vec<i32> = (0..n as i32).rev().collect();
        for (slot, pages) in slots.iter().zip(&pages) {
            for (index, page) in pages.iter().enumerate() {
                table[*slot as usize * PAGES_MAX + index] = page.address();
            }
        }
        let base = c.rope.base(d);
        let rotations: Vec<f32> = positions
            .iter()
            .flat_map(|position| {
                let angle =
                    move |i: usize| *position as f64 * base.powf(-2.0 * i as f64 / d as f64);
                let cosines = (0..d / 2).map(move |i| angle(i).cos() as f32);
                cosines.chain((0..d / 2).map(move |i| angle(i).sin() as f32)).collect::<Vec<_>>()
            })
            .collect();
        let positions: Vec<i32> = positions.iter().map(|position| *position as i32).collect();
        let buffers = [
            bench.holding(&positions),
            bench.holding(&slots),
            bench.holding(&rotations),
            bench.holding(&table),
        ];
        Self { pages, positions, content, buffers, pages_max: PAGES_MAX, rotations }
    }

    /// As `struct Tokens` of `prefill.cu`.
    fn argument(&self) -> [u64; 5] {
        let [positions, slots, rotations, table] = &self.buffers;
        let pages_max = self.pages_max as u64;
        [positions.address(), slots.address(), rotations.address(), table.address(), pages_max]
    }

    fn rotation(&self, token: usize, head_dim: usize) -> &[f32] {
        &self.rotations[token * head_dim..][..head_dim]
    }
}

/// Around the ends of splits and pages, and anywhere.
fn positions(bench: &mut Bench, n: usize) -> Vec<usize> {
    const EDGES: [usize; 12] = [0, 1, 127, 128, 254, 255, 256, 257, 383, 511, 512, 767];
    let mut some: Vec<usize> = (0..n).map(|_| bench.random.random_range(0..768)).collect();
    let first = bench.random.random_range(0..EDGES.len());
    some.iter_mut().zip(EDGES.iter().cycle().skip(first)).for_each(|(to, edge)| *to = *edge);
    some
}

#[test]
fn keys_and_values_are_appended_to_the_bit() {
    for mut bench in benches(&SHAPES) {
        let (c, qkv_rows) = (bench.shape().config.clone(), bench.shape().qkv_rows());
        let d = c.head_dim;
        for n in token_counts() {
            let positions = positions(&mut bench, n);
            let mut cache = Cache::new(&mut bench, &positions, false);
            let (qkv, norms) = (bench.floats(n * qkv_rows), bench.floats(c.n_layers * 2 * d));
            let layer = c.n_layers - 1;
            let (qkv_there, norms_there) = (bench.holding(&qkv), bench.holding(&norms));
            let words = cache.argument();
            let arguments =
                [Buffer(&qkv_there), Struct(&words), Buffer(&norms_there), Int(layer as i32)];
            bench.launch("append", [n, 1, 1], &arguments);
            for token in 0..n {
                let k_norm = &norms[(layer * 2 + 1) * d..][..d];
                let own = &qkv[token * qkv_rows + c.q_size()..][..2 * c.kv_size()];
                for head in 0..2 * c.n_kv_heads {
                    let row = &own[head * d..][..d];
                    let row = match head < c.n_kv_heads {
                        true => {
                            twin::rope_norm(row, cache.rotation(token, d), k_norm, c.rms_norm_eps)
                        }
                        false => row.to_vec(),
                    };
                    let position = positions[token];
                    cache.content[token][position / PAGE_TOKENS].put(
                        layer * 2 * c.n_kv_heads + head,
                        position % PAGE_TOKENS,
                        &twin::fine_levels(&row),
                    );
                }
                for (page, want) in cache.pages[token].iter().zip(&cache.content[token]) {
                    let position = positions[token];
                    assert!(
                        page.read::<u8>().unwrap() == want.bytes,
                        "{n} tokens, position {position}"
                    );
                }
            }
        }
    }
}

#[test]
fn attention_is_right_to_the_bit_and_reads_no_other_position() {
    for mut bench in benches(&SHAPES) {
        let (c, qkv_rows) = (bench.shape().config.clone(), bench.shape().qkv_rows());
        let (d, group) = (c.head_dim, c.n_heads / c.n_kv_heads);
        for n in token_counts() {
            let positions = positions(&mut bench, n);
            let cache = Cache::new(&mut bench, &positions, true);
            let (qkv, norms) = (bench.floats(n * qkv_rows), bench.floats(c.n_layers * 2 * d));
            let layer = c.n_layers - 1;
            let splits = positions.iter().max().unwrap() / SPLIT_TOKENS + 1;
            let (qkv_there, norms_there) = (bench.holding(&qkv), bench.holding(&norms));
            let out = bench.poisoned::<f32>(n * c.q_size());
            let partials = bench.poisoned::<f32>(n * splits * c.n_heads * (d + 2));
            let arrivals = bench.holding(&vec![0_u32; n * c.n_heads]);
            let words = cache.argument();
            let arguments = [
                Buffer(&qkv_there),
                Struct(&words),
                Buffer(&norms_there),
                Int(layer as i32),
                Buffer(&out),
                Buffer(&partials),
                Buffer(&arrivals),
            ];
            bench.launch("attention", [c.n_heads, n, splits], &arguments);
            partials.read::<f32>().unwrap();
            assert!(
                arrivals.read::<u32>().unwrap().iter().all(|count| *count == 0),
                "for the next layer"
            );
            let out: Vec<f32> = out.read().unwrap();
            for token in 0..n {
                let keys = cache.positions[token] as usize + 1;
                // Heads of all pages one after the other.
                let rows = |is_value: usize, head: usize| -> Vec<twin::Head> {
                    let head = (layer * 2 + is_value) * c.n_kv_heads + head;
                    let place =
                        |at: usize| (&cache.content[token][at / PAGE_TOKENS], at % PAGE_TOKENS);
                    (0..keys).map(place).map(|(page, at)| page.get(head, at)).collect()
                };
                for head in 0..c.n_heads {
                    let q = &qkv[token * qkv_rows + head * d..][..d];
                    let q_norm = &norms[layer * 2 * d..][..d];
                    let q = twin::rope_norm(q, cache.rotation(token, d), q_norm, c.rms_norm_eps);
                    let (keys_there, values) = (rows(0, head / group), rows(1, head / group));
                    let want = twin::attention(&twin::fine_levels(&q), &keys_there, &values);
                    let got = &out[token * c.q_size() + head * d..][..d];
                    same_bits(got, &want, &format!("{n} tokens, {keys} keys, head {head}"));
                }
            }
        }
    }
}
