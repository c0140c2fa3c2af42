//! Rows of answers as Apache Parquet.
//!
//! One row a recording, Snappy, groups of [`GROUP_ROWS`] rows. The columns are those of the comma-separated values, a score in
//! a FLOAT, and null where there is no value.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::output::columns;
use super::rows::Row;

/// Rows of a group, and so the most that are in memory: some ten megabytes.
const GROUP_ROWS: usize = 1 << 16;

/// A file that is being written.
pub(super) struct Table {
    writer: SerializedFileWriter<File>,
    labels: Vec<String>,
    group: Vec<Row>,
}

impl Table {
    /// No rows yet.
    ///
    /// # Errors
    /// A label that is also the name of another column.
    pub(super) fn new(file: File, labels: &[String]) -> anyhow::Result<Table> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("intone version ", env!("CARGO_PKG_VERSION")).to_owned());
        let writer = SerializedFileWriter::new(file, schema(labels)?, Arc::new(properties.build()))?;
        Ok(Table { writer, labels: labels.to_vec(), group: Vec::new() })
    }

    pub(super) fn push(&mut self, row: Row) -> anyhow::Result<()> {
        self.group.push(row);
        if self.group.len() == GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    /// Writes what is left, and the end of the file.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if !self.group.is_empty() {
            self.write_group()?;
        }
        self.writer.close()?;
        Ok(())
    }

    fn write_group(&mut self) -> anyhow::Result<()> {
        let rows = std::mem::take(&mut self.group);
        let rows = || rows.iter();
        let text = |text: &String| ByteArray::from(text.as_bytes().to_vec());
        let mut group = self.writer.next_row_group()?;
        let paths: Vec<ByteArray> = rows().map(|row| text(&row.path)).collect();
        let mut column = group.next_column()?.context("the column of the paths")?;
        column.typed::<ByteArrayType>().write_batch(&paths, None, None)?;
        column.close()?;
        write::<ByteArrayType>(&mut group, rows().map(|row| row.label.as_ref().map(text)))?;
        for label in &self.labels {
            write::<FloatType>(&mut group, rows().map(|row| row.scores.get(label).copied()))?;
        }
        write::<BoolType>(&mut group, rows().map(|row| row.silence))?;
        write::<BoolType>(&mut group, rows().map(|row| row.uncertain))?;
        write::<DoubleType>(&mut group, rows().map(|row| row.duration_s))?;
        write::<Int64Type>(&mut group, rows().map(|row| row.windows))?;
        write::<ByteArrayType>(&mut group, rows().map(|row| row.error.as_ref().map(text)))?;
        group.close()?;
        Ok(())
    }
}

/// Writes the next column: what is there, and for each row whether it is.
fn write<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: impl Iterator<Item = Option<T::T>> + Clone,
) -> anyhow::Result<()> {
    let there: Vec<i16> = values.clone().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.flatten().collect();
    let mut column = group.next_column()?.context("a column for each field of a row")?;
    column.typed::<T>().write_batch(&values, Some(&there), None)?;
    column.close()?;
    Ok(())
}

/// Checks that these labels can be columns.
///
/// # Errors
/// A label that is also the name of another column.
pub(super) fn schema(labels: &[String]) -> anyhow::Result<Arc<Type>> {
    let names = columns(labels);
    let mut fields = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            bail!("--format parquet: the label '{name}' is also the name of another column");
        }
        let is_score = (2..2 + labels.len()).contains(&index);
        let (physical, logical) = match name.as_str() {
            _ if is_score => (Physical::FLOAT, None),
            "silence" | "uncertain" => (Physical::BOOLEAN, None),
            "duration_s" => (Physical::DOUBLE, None),
            "windows" => (Physical::INT64, None),
            _ => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let repetition = if index == 0 { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let field = Type::primitive_type_builder(name, physical).with_repetition(repetition);
        fields.push(Arc::new(field.with_logical_type(logical).build()?));
    }
    Ok(Arc::new(Type::group_type_builder("predictions").with_fields(fields).build()?))
}

/// Calls `take` for the rows of a file that [`Table`] wrote with these labels.
///
/// # Errors
/// What is no Parquet, or has other columns.
pub(super) fn read(
    path: &Path,
    labels: &[String],
    mut take: impl FnMut(Row) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // The reader trusts what a damaged file says of itself, and panics. Nothing that is shared is changed on the way.
    let read = catch_unwind(AssertUnwindSafe(|| read_rows(path, labels, &mut take)));
    read.unwrap_or_else(|_| bail!("no Parquet file that can be read: it is damaged"))
}

fn read_rows(
    path: &Path,
    labels: &[String],
    take: &mut dyn FnMut(Row) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let unreadable = |error: ParquetError| anyhow::anyhow!("no Parquet file that can be read: {error}");
    let file = File::open(path)?;
    let n_file = i64::try_from(file.metadata()?.len())?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        if start < 0 || column.compressed_size() < 0 || end.is_none_or(|end| end > n_file) {
            bail!("no Parquet file that can be read: a column lies outside of it");
        }
    }
    let found = reader.metadata().file_metadata().schema().get_fields();
    let found: Vec<&str> = found.iter().map(|field| field.name()).collect();
    let expected = columns(labels);
    if found != expected {
        bail!("its columns: expected {}, got {}", expected.join(","), found.join(","));
    }
    for row in reader {
        let mut read = Row::default();
        for (name, value) in row.map_err(unreadable)?.into_columns() {
            match (name.as_str(), value) {
                (_, Field::Null) => {}
                ("path", Field::Str(text)) => read.path = text,
                ("label", Field::Str(text)) => read.label = Some(text),
                ("error", Field::Str(text)) => read.error = Some(text),
                ("silence", Field::Bool(value)) => read.silence = Some(value),
                ("uncertain", Field::Bool(value)) => read.uncertain = Some(value),
                ("duration_s", Field::Double(value)) => read.duration_s = Some(value),
                ("windows", Field::Long(value)) => read.windows = Some(value),
                (label, Field::Float(value)) => _ = read.scores.insert(label.to_owned(), value),
                (_, other) => bail!("its column {name}: expected another type than that of {other}"),
            }
        }
        take(read)?;
    }
    Ok(())
}
