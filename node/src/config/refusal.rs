//! `on_error` and `on_nack`: a word, or `{ retry = N }`.

use super::table::Table;

const RETRIES_MAX: u64 = 100;

/// `words`: each with what it means; the first where nothing is said. `retry` makes the rest.
pub fn read<T: Copy>(table: &Table, key: &'static str, words: &[(&str, T)], retry: fn(u8) -> T) -> Option<T> {
    if table.is_table(key) {
        let inner = table.table(key)?;
        let times = inner.number("retry", 1..=RETRIES_MAX);
        if times.is_none() && !inner.has("retry") {
            inner.refuse("missing-field", "say how often: { retry = 3 }");
        }
        inner.finish();
        return times.and_then(|times| u8::try_from(times).ok()).map(retry);
    }
    let Some(text) = table.text(key) else { return words.first().map(|(_, default)| *default) };
    let found = words.iter().find(|(word, _)| *word == text.value);
    if found.is_none() {
        let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let hint = format!("must be {} or {{ retry = N }}", known.join(", "));
        text.refuse(table.report(), "value-invalid", hint);
    }
    found.map(|(_, meant)| *meant)
}
