//! Dead keys and compose: an accent and a letter make one character.

/// The characters that name the accents of dead keys, by the value of the key symbol.
pub const DEAD: [char; 6] = ['`', '\'', '^', '~', '"', ','];

/// Accent, bases and results, position by position.
const TABLE: [(char, &str, &str); 11] = [
    ('`', "AEIOUaeiou", "ÀÈÌÒÙàèìòù"),
    ('\'', "AEIOUYCNSZaeiouycnsz", "ÁÉÍÓÚÝĆŃŚŹáéíóúýćńśź"),
    ('^', "AEIOUaeiou", "ÂÊÎÔÛâêîôû"),
    ('~', "ANOano", "ÃÑÕãñõ"),
    ('"', "AEIOUYaeiouy", "ÄËÏÖÜŸäëïöüÿ"),
    (',', "CSTcst", "ÇŞŢçşţ"),
    ('o', "Aa", "Åå"),
    ('/', "Oo", "Øø"),
    ('s', "s", "ß"),
    ('A', "E", "Æ"),
    ('a', "e", "æ"),
];

/// Pairs of compose that are no accents.
const PAIRS: [(char, char, char); 14] = [
    ('<', '<', '«'),
    ('>', '>', '»'),
    ('!', '!', '¡'),
    ('?', '?', '¿'),
    ('c', 'o', '©'),
    ('r', 'o', '®'),
    ('=', 'e', '€'),
    ('-', 'L', '£'),
    ('=', 'Y', '¥'),
    ('+', '-', '±'),
    ('1', '2', '½'),
    ('1', '4', '¼'),
    ('3', '4', '¾'),
    ('o', 'e', 'œ'),
];

fn accented(accent: char, base: char) -> Option<char> {
    let (_, bases, results) = TABLE
        .iter()
        .find(|(a, bases, _)| *a == accent && bases.contains(base))?;
    bases
        .chars()
        .zip(results.chars())
        .find(|(b, _)| *b == base)
        .map(|(_, result)| result)
}

/// What `first` and `second` make together, for dead keys.
pub fn combine(first: char, second: char) -> Option<char> {
    accented(first, second)
}

/// The same for compose sequences, in either order.
pub fn compose(first: char, second: char) -> Option<char> {
    let pair = |a: char, b: char| PAIRS.iter().find(|p| p.0 == a && p.1 == b).map(|p| p.2);
    accented(first, second)
        .or_else(|| pair(first, second))
        .or_else(|| accented(second, first))
        .or_else(|| pair(second, first))
}
