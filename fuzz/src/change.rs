use crate::tree::Tree;
use crate::{Blind, Dice};

/// Changes an input that is `head` bytes of anything and then JSON: three times of four the JSON is
/// changed as such, with values and keys from itself and from `pool`.
pub(crate) fn mutate(
    input: &[u8],
    head: usize,
    pool: &[&str],
    max: usize,
    dice: &mut Dice,
    blind: &mut Blind<'_>,
) -> Vec<u8> {
    if dice.one_in(4) || input.len() <= head {
        return blind(input, max);
    }
    let (front, json) = input.split_at(head);
    let changed = if head > 0 && dice.one_in(8) {
        let mut changed = input.to_vec();
        changed[dice.below(head)] = dice.below(256) as u8;
        Some(changed)
    } else {
        let json = Tree::read(json).map(|tree| changed(tree, dice, pool));
        json.map(|json| [front, json.as_bytes()].concat())
    };
    changed.filter(|changed| changed.len() <= max).unwrap_or_else(|| blind(input, max))
}

/// JSON of the value with a few things changed, moved, repeated or spelt in another way.
fn changed(mut tree: Tree, dice: &mut Dice, pool: &[&str]) -> String {
    for _ in 0..dice.pick(&[0, 1, 1, 1, 2, 3]) {
        tree.change(dice, pool);
    }
    if dice.one_in(4) { tree.spelled(dice) } else { tree.json() }
}

impl Tree {
    fn nodes(&self) -> usize {
        let members = self.members().iter().map(|(_, value)| value.nodes());
        1 + members.chain(self.entries().iter().map(Tree::nodes)).sum::<usize>()
    }

    /// The value at a place, counted from this one down and to the right.
    fn node(&mut self, place: &mut usize) -> Option<&mut Tree> {
        let Some(rest) = place.checked_sub(1) else { return Some(self) };
        *place = rest;
        match self {
            Tree::Array(entries) => entries.iter_mut().find_map(|entry| entry.node(place)),
            Tree::Object(members) => members.iter_mut().find_map(|(_, value)| value.node(place)),
            _ => None,
        }
    }

    fn any_node(&mut self, dice: &mut Dice) -> &mut Tree {
        let mut place = dice.below(self.nodes());
        self.node(&mut place).unwrap()
    }

    /// Changes something somewhere in it.
    pub(crate) fn change(&mut self, dice: &mut Dice, pool: &[&str]) {
        let other = self.any_node(dice).clone();
        let other = if dice.one_in(2) { other } else { pooled(dice, pool).unwrap_or(other) };
        let key = self.any_key(dice);
        let node = self.any_node(dice);
        match (dice.below(8), node) {
            (0, Tree::Object(members)) if !members.is_empty() => {
                let (from, to) = (dice.below(members.len()), dice.below(members.len()));
                match dice.below(4) {
                    0 => drop(members.remove(from)),
                    1 => members.swap(from, to),
                    2 => members.insert(to, members[from].clone()),
                    _ => members[from].0 = key.unwrap_or_default(),
                }
            }
            (1, Tree::Object(members)) => members.push((key.unwrap_or_default(), other)),
            (0 | 1, Tree::Array(entries)) if !entries.is_empty() => {
                let (from, to) = (dice.below(entries.len()), dice.below(entries.len()));
                match dice.below(4) {
                    0 => drop(entries.remove(from)),
                    1 => entries.swap(from, to),
                    2 => entries.insert(to, entries[from].clone()),
                    _ => entries.push(other),
                }
            }
            (2..5, Tree::Text(text) | Tree::Number(text)) => tweak(text, dice),
            (5, node) => {
                let inner = std::mem::replace(node, Tree::Array(Vec::new()));
                *node = match dice.below(2) {
                    0 => Tree::Array(vec![inner, other]),
                    _ => Tree::Object(vec![(key.unwrap_or_default(), inner)]),
                };
            }
            (_, node) => *node = other,
        }
    }

    /// Some key in it.
    fn any_key(&mut self, dice: &mut Dice) -> Option<String> {
        let members = (0..4).find_map(|_| match self.any_node(dice) {
            Tree::Object(members) if !members.is_empty() => Some(members.clone()),
            _ => None,
        })?;
        Some(members[dice.below(members.len())].0.clone())
    }

    /// JSON of it in one of the many ways to spell it.
    pub(crate) fn spelled(&self, dice: &mut Dice) -> String {
        let mut out = String::new();
        self.spell(dice, &mut out);
        out
    }

    fn spell(&self, dice: &mut Dice, out: &mut String) {
        let space = |dice: &mut Dice| dice.pick(&["", "", "", " ", "\n\t", "\r"]);
        out.push_str(space(dice));
        match self {
            Tree::Word(text) => out.push_str(text),
            Tree::Number(text) => {
                out.push_str(text);
                out.push_str(match text.contains(['e', 'E']) {
                    true => "",
                    false if text.contains('.') => dice.pick(&["", "0", "e0", "00E-0"]),
                    false => dice.pick(&["", "", ".0", "e0", "E+0", ".00e-00"]),
                });
            }
            Tree::Text(text) => quoted(text, dice, out),
            Tree::Array(entries) => {
                out.push('[');
                for (place, entry) in entries.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    entry.spell(dice, out);
                }
                out.push_str(space(dice));
                out.push(']');
            }
            Tree::Object(members) => {
                out.push('{');
                for (place, (key, value)) in members.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { "," });
                    out.push_str(space(dice));
                    quoted(key, dice, out);
                    out.push_str(space(dice));
                    out.push(':');
                    value.spell(dice, out);
                }
                out.push_str(space(dice));
                out.push('}');
            }
        }
        out.push_str(space(dice));
    }
}

/// A value of the pool; what is no JSON there is a text.
fn pooled(dice: &mut Dice, pool: &[&str]) -> Option<Tree> {
    let text = (!pool.is_empty()).then(|| dice.pick(pool))?;
    Some(Tree::read(text.as_bytes()).unwrap_or_else(|| Tree::Text(text.to_owned())))
}

/// Changes a character; a number stays one.
fn tweak(text: &mut String, dice: &mut Dice) {
    let old: Vec<char> = text.chars().collect();
    let at = dice.below(old.len().max(1));
    let new = match old.get(at) {
        Some(digit @ '1'..='8') => {
            dice.pick(&[(*digit as u8 + 1) as char, (*digit as u8 - 1) as char])
        }
        Some(letter) if letter.is_ascii_uppercase() => letter.to_ascii_lowercase(),
        Some(letter) if letter.is_ascii_lowercase() => letter.to_ascii_uppercase(),
        Some(digit @ ('0' | '9')) => *digit,
        _ => return text.push('0'),
    };
    *text = old.iter().enumerate().map(|(place, c)| if place == at { new } else { *c }).collect();
    if dice.one_in(4) {
        text.push('0');
    }
}

fn quoted(text: &str, dice: &mut Dice, out: &mut String) {
    let often = dice.pick(&[0, 0, 1, 3]);
    out.push('"');
    for c in text.chars() {
        if c >= ' ' && c != '"' && c != '\\' && dice.below(4) >= often {
            out.push(c);
            continue;
        }
        let short = match c {
            '"' | '\\' | '/' => Some(c),
            '\u{8}' => Some('b'),
            '\u{c}' => Some('f'),
            '\n' => Some('n'),
            '\r' => Some('r'),
            '\t' => Some('t'),
            _ => None,
        };
        match short {
            Some(short) if dice.one_in(2) => out.extend(['\\', short]),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&match dice.below(2) {
                        0 => format!("\\u{unit:04x}"),
                        _ => format!("\\u{unit:04X}"),
                    });
                }
            }
        }
    }
    out.push('"');
}
