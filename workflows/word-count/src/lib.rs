//! Counts the words of a text in parallel: fan out, fan in.
//!
//! ```console
//! $ wfhost run workflows/word-count --input '{"text":"the cat and the dog","chunk_words":2}'
//! {"and":1,"cat":1,"dog":1,"the":2}
//! ```
//!
//! Look here for: many calls at once with a bound on how many are under way, and a merge that does not
//! depend on which ends first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wfhost_sdk::{
    ActivityContext, Context, JsonSchema, Result, RetryPolicy, StreamExt as _, activity, schemars,
    stream, workflow,
};

wfhost_sdk::export!(workflows: [word_count], activities: [count_words]);

/// Most calls that are under way at once, so that a long text leaves room for other instances, and no
/// turn comes near the 10,000 commands that one may ask.
const CALLS_AT_ONCE_MAX: usize = 8;

/// How often each word occurs, in lower case.
type Counts = BTreeMap<String, u64>;

/// The input: a text, and how it is cut.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Job {
    /// What to count.
    text: String,
    /// Words that one activity counts, 1,000 if left out; 0 counts as 1.
    #[serde(default = "a_thousand")]
    chunk_words: usize,
}

fn a_thousand() -> usize {
    1_000
}

/// Cuts a text in chunks, has them counted in parallel, and adds up what comes back.
#[workflow]
async fn word_count(ctx: Context, job: Job) -> Result<Counts> {
    let words: Vec<&str> = job.text.split_whitespace().collect();
    let chunks: Vec<String> = words
        .chunks(job.chunk_words.max(1))
        .map(|chunk| chunk.join(" "))
        .collect();
    log::info!("{} words in {} chunks", words.len(), chunks.len());

    // The calls are lazy: `buffer_unordered` asks for the next one only once another is done.
    let mut counted = stream::iter(&chunks)
        .map(|chunk| {
            ctx.call::<count_words>(chunk)
                .retry(RetryPolicy::attempts(3))
        })
        .buffer_unordered(CALLS_AT_ONCE_MAX);
    let mut total = Counts::new();
    while let Some(counts) = counted.next().await {
        for (word, count) in counts? {
            *total.entry(word).or_default() += count;
        }
    }
    Ok(total)
}

/// Counts the words of one chunk.
#[activity]
fn count_words(_: ActivityContext, chunk: String) -> Result<Counts> {
    let mut counts = Counts::new();
    for word in chunk.split_whitespace() {
        let word = word.trim_matches(|character: char| !character.is_alphanumeric());
        if !word.is_empty() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wfhost_sdk::testing;

    fn job(text: &str, chunk_words: usize) -> Job {
        Job {
            text: text.into(),
            chunk_words,
        }
    }

    #[test]
    fn the_counts_do_not_depend_on_the_cut() {
        for (chunk_words, calls) in [(0, 5), (1, 5), (2, 3), (1_000, 1)] {
            let report = testing::workflow::<word_count>(job("The cat, and the dog.", chunk_words))
                .real_activity::<count_words>()
                .run();
            let counts: Vec<(&str, u64)> = report
                .output()
                .unwrap()
                .iter()
                .map(|(word, count)| (word.as_str(), *count))
                .collect();
            assert_eq!(counts, [("and", 1), ("cat", 1), ("dog", 1), ("the", 2)]);
            assert_eq!(report.activities().len(), calls);
        }
    }

    #[test]
    fn no_more_than_eight_calls_are_under_way() {
        let text = "word ".repeat(20);
        let report = testing::workflow::<word_count>(job(&text, 1))
            .real_activity::<count_words>()
            .takes("count_words", Duration::from_secs(1))
            .run();
        assert_eq!(report.output().unwrap()["word"], 20);
        // 20 calls of a second each, 8 at once: three rounds.
        assert_eq!(report.elapsed(), Duration::from_secs(3));
    }

    #[test]
    fn an_empty_text_has_no_words() {
        let report = testing::workflow::<word_count>(job(" ", 10)).run();
        assert!(report.output().unwrap().is_empty());
    }
}
