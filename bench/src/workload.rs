//! What the tests of `work` work on, made the same everywhere, and the answers that they must give.

use std::fmt::Write;

/// Of `text(10 MiB)`, as sha256sum prints it of standard input.
pub const SHA256_10M: &str = "a5a6b07a0a090a0433a146941bd80c86c5039f51c205a88b72ff717bbb3942ca  -";

/// Numbers that look random and are not (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

const SYLLABLES: [&str; 16] = [
    "ba", "co", "du", "fe", "gi", "ha", "jo", "ku", "le", "mi", "na", "po", "ru", "se", "ti", "vo",
];

/// Lines of words, so many bytes of them; one in 256 words is `needle`.
pub fn text(bytes: usize) -> String {
    let (mut numbers, mut text) = (Numbers(1), String::with_capacity(bytes + 64));
    while text.len() < bytes {
        for _ in 0..3 + numbers.below(8) {
            text.push_str(&word(&mut numbers));
            text.push(' ');
        }
        text.push('\n');
    }
    text.truncate(bytes - 1);
    text.push('\n');
    text
}

/// So many words, a line each.
pub fn words(count: usize) -> String {
    let mut numbers = Numbers(2);
    (0..count).map(|_| word(&mut numbers) + "\n").collect()
}

fn word(numbers: &mut Numbers) -> String {
    if numbers.below(256) == 0 {
        return "needle".to_owned();
    }
    let syllables = 1 + numbers.below(3);
    (0..syllables)
        .map(|_| SYLLABLES[numbers.below(16) as usize])
        .collect()
}

/// SQL for a table of `together` rows made in one transaction and `alone` in one each; prints their number.
pub fn inserts(together: u32, alone: u32) -> String {
    let mut sql = String::from(
        "create table item(id integer primary key, kind integer, name text);\n\
         create index item_kind on item(kind);\nbegin;\n",
    );
    let row = |sql: &mut String, id: u32| {
        let _ = writeln!(
            sql,
            "insert into item values({id}, {}, 'name {id}');",
            id % 7
        );
    };
    (0..together).for_each(|id| row(&mut sql, id));
    sql.push_str("commit;\n");
    (together..together + alone).for_each(|id| row(&mut sql, id));
    sql.push_str("select count(*) from item;\n");
    sql
}

pub const SELECTS: &str = "\
select count(*) from item where kind = 3;
select sum(id) from item where name like '%7';
select count(*) from item b join item a on a.id = b.id - 1 where b.kind = 0;
select name from item order by name desc limit 1;
";

/// What [`SELECTS`] print of a table that [`inserts`] made.
pub fn selected(rows: u64) -> String {
    let all = 0..rows;
    let kind_3 = all.clone().filter(|id| id % 7 == 3).count();
    let sevens: u64 = all.clone().filter(|id| id % 10 == 7).sum();
    let after = all.clone().skip(1).filter(|id| id % 7 == 0).count();
    let last = all.map(|id| format!("name {id}")).max().unwrap_or_default();
    format!("{kind_3}\n{sevens}\n{after}\n{last}")
}

/// C: a function of some length, `f<number>`, which answers its number for 100.
pub fn part(number: u32) -> String {
    format!(
        "#include <string.h>\n\
         static int sum{number}(const char *text) {{\n    int sum = 0;\n    \
         for (; *text; text++)\n        sum = sum * 31 + *text;\n    return sum;\n}}\n\
         int f{number}(int x) {{\n    char text[32];\n    \
         memset(text, 'a' + x % 26, sizeof text - 1);\n    text[31] = 0;\n    \
         if (sum{number}(text) == sum{number}(\"\"))\n        return -1;\n    \
         switch (x) {{\n    case 1: return x << 3;\n    case 100: return {number};\n    \
         default: return x / 3;\n    }}\n}}\n"
    )
}

/// C: a program that prints the sum of what so many functions answer.
pub fn main_of(parts: u32) -> String {
    let mut text = String::from("#include <stdio.h>\n");
    for number in 0..parts {
        let _ = writeln!(text, "int f{number}(int);");
    }
    text.push_str("int main(void) {\n    long sum = 0;\n");
    for number in 0..parts {
        let _ = writeln!(text, "    sum += f{number}(100);");
    }
    text.push_str("    printf(\"%ld\\n\", sum);\n    return 0;\n}\n");
    text
}

/// The same in one file.
pub fn program(parts: u32) -> String {
    (0..parts).map(part).collect::<String>() + &main_of(parts)
}

/// What the program prints.
pub fn program_says(parts: u32) -> u32 {
    (0..parts).sum()
}

pub const MAKEFILE: &str = "\
CC = tcc
OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))
all: $(OBJECTS)
\t$(CC) -o $@ $^
%.o: %.c
\t$(CC) -c -o $@ $<
clean:
\trm -f all *.o
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_its_length_and_its_needles() {
        let text = text(1 << 16);
        assert_eq!(text.len(), 1 << 16);
        assert!(text.ends_with('\n'));
        let needles = text.matches("needle").count();
        assert!((20..120).contains(&needles), "{needles}");
        assert_eq!(words(100).lines().count(), 100);
    }

    #[test]
    fn answers_are_as_many_as_questions() {
        assert_eq!(selected(100).lines().count(), SELECTS.lines().count());
        assert_eq!(selected(100).lines().last(), Some("name 99"));
        assert_eq!(inserts(3, 2).matches("insert into").count(), 5);
        assert_eq!(program_says(4), 6);
    }
}
