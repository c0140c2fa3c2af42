//! A page of headings, sentences, tables and pictures, as Markdown and as one HTML file that needs nothing else.

use crate::svg::escape;

/// A page, from top to bottom.
#[derive(Debug, Default)]
pub(super) struct Document {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Debug)]
enum Block {
    Heading(String),
    Text(String),
    Table(Table),
    /// SVG text, and what is to be seen.
    Picture(String, String),
}

/// Cells under a header; the first column is text and the others are numbers unless told otherwise.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// Columns of text from the left on.
    pub(super) n_text: usize,
}

impl Table {
    pub(super) fn new<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> Table {
        let header = header.map(str::to_owned).to_vec();
        Table { header, rows: rows.into_iter().map(Vec::from).collect(), n_text: 1 }
    }

    /// The same table with more columns of text.
    pub(super) fn text_columns(self, n_text: usize) -> Table {
        Table { n_text, ..self }
    }
}

impl Document {
    pub(super) fn new(title: impl Into<String>) -> Document {
        Document { title: title.into(), blocks: Vec::new() }
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.blocks.push(Block::Heading(text.to_owned()));
    }

    pub(super) fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Text(text.into()));
    }

    /// A table; none where there are no rows.
    pub(super) fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }

    pub(super) fn picture(&mut self, svg: String, caption: impl Into<String>) {
        self.blocks.push(Block::Picture(svg, caption.into()));
    }

    /// Markdown, without the pictures.
    pub(super) fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n", plain(&self.title));
        for block in &self.blocks {
            match block {
                Block::Heading(heading) => text += &format!("\n## {}\n", plain(heading)),
                Block::Text(sentence) => text += &format!("\n{}\n", plain(sentence)),
                Block::Table(table) => {
                    text.push('\n');
                    text += &markdown_row(&table.header);
                    let rule = |column: usize| if column < table.n_text { "---" } else { "---:" }.to_owned();
                    text += &markdown_row(&(0..table.header.len()).map(rule).collect::<Vec<_>>());
                    table.rows.iter().for_each(|row| text += &markdown_row(row));
                }
                Block::Picture(..) => {}
            }
        }
        text
    }

    pub(super) fn to_html(&self) -> String {
        let title = escape(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        for block in &self.blocks {
            match block {
                Block::Heading(heading) => html += &format!("<h2>{}</h2>\n", escape(heading)),
                Block::Text(sentence) => html += &format!("<p>{}</p>\n", escape(sentence)),
                Block::Table(table) => html += &html_table(table),
                Block::Picture(svg, caption) => {
                    html +=
                        &format!("<figure>\n{svg}<figcaption>{}</figcaption>\n</figure>\n", escape(caption));
                }
            }
        }
        html + "</body>\n</html>\n"
    }
}

const STYLE: &str = "\
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin-bottom: .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid #ccc; }
table { border-collapse: collapse; margin: .8rem 0; font-size: .9rem; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th { border-bottom: 2px solid #444; text-align: right; }
td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { white-space: nowrap; }
th.t, td.t { text-align: left; white-space: normal; }
td.t:first-child { white-space: nowrap; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { font-size: .85rem; color: #444; max-width: 46rem; }
@media print { body { margin: 0; } figure, tr { break-inside: avoid; } }
";

fn html_table(table: &Table) -> String {
    let cells = |row: &[String], tag: &str| {
        let cell = |(column, text): (usize, &String)| {
            let class = if column < table.n_text { " class=\"t\"" } else { "" };
            format!("<{tag}{class}>{}</{tag}>", escape(text))
        };
        format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>())
    };
    let body: String = table.rows.iter().map(|row| cells(row, "td")).collect();
    format!("<table>\n<thead>{}</thead>\n<tbody>\n{body}</tbody>\n</table>\n", cells(&table.header, "th"))
}

fn markdown_row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| plain(cell).replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Text that stays in its line and means nothing else in Markdown.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            c if c.is_control() => plain.push(' '),
            c @ ('*' | '<' | '`' | '#') => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names_in_both_forms() {
        let mut document = Document::new("A <b> title");
        document.text("one\ntwo");
        document.table(Table::new(["a", "n"], vec![["x|<y>".to_owned(), "1".to_owned()]]));
        document.table(Table::new(["nothing"], vec![]));
        document.picture("<svg/>".to_owned(), "what & why");
        let markdown = document.to_markdown();
        assert_eq!(markdown, "# A \\<b> title\n\none two\n\n| a | n |\n| --- | ---: |\n| x\\|\\<y> | 1 |\n");
        let html = document.to_html();
        assert!(html.contains("<td class=\"t\">x|&lt;y&gt;</td><td>1</td>"), "{html}");
        assert!(html.contains("<svg/><figcaption>what &amp; why</figcaption>") && !html.contains("nothing"));
    }
}
