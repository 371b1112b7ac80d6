//! Words that tell a class from the others: log-odds with an informative Dirichlet prior (Monroe, Colaresi and Quinn
//! 2008), over words between spaces, each counted once per comment.

use std::collections::{HashMap, HashSet};

/// Different words that are counted; rare ones give way.
const MAX_WORDS: usize = 400_000;
/// Characters of the longest word that is counted.
const MAX_LENGTH: usize = 20;
/// Comments that a shown word must be in.
const MIN_COMMENTS: u64 = 3;
/// How far from chance a shown word must be, in standard deviations.
const MIN_Z: f64 = 1.96;
/// Weight of the prior: as many counts as this, in the proportions of all comments.
const PRIOR: f64 = 500.0;

/// In how many comments of each class each word is.
#[derive(Debug, Default)]
pub struct Words {
    counts: HashMap<String, [u64; 3]>,
    /// Words were dropped because there were too many.
    pub dropped: bool,
}

/// A word of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Telling {
    /// The word.
    pub word: String,
    /// Comments of each class that it is in.
    pub counts: [u64; 3],
    /// How far its log-odds are from chance, in standard deviations.
    pub z: f64,
}

impl Words {
    /// Counts a comment of a class.
    pub fn add(&mut self, comment: &str, class: usize) {
        let words: HashSet<&str> =
            comment.split_whitespace().map(bare).filter(|word| is_word(word)).collect();
        for word in words {
            match self.counts.get_mut(word) {
                Some(counts) => counts[class] += 1,
                None => {
                    let mut counts = [0; 3];
                    counts[class] = 1;
                    self.counts.insert(word.to_owned(), counts);
                }
            }
        }
        if self.counts.len() > MAX_WORDS {
            self.dropped = true;
            let mut least = 1;
            while self.counts.len() > MAX_WORDS / 2 {
                self.counts.retain(|_, counts| counts.iter().sum::<u64>() > least);
                least += 1;
            }
        }
    }

    /// The words that tell `class` best, the best first.
    pub fn telling(&self, class: usize, most: usize) -> Vec<Telling> {
        let sum = |counts: &[u64; 3]| counts.iter().sum::<u64>() as f64;
        let own: f64 = self.counts.values().map(|counts| counts[class] as f64).sum();
        let all: f64 = self.counts.values().map(sum).sum();
        let score = |counts: &[u64; 3]| {
            let prior = PRIOR * sum(counts) / all;
            let odds = |count: f64, of: f64| {
                let count = count + prior;
                (count, (count / (of + PRIOR - count)).ln())
            };
            let (mine, theirs) =
                (odds(counts[class] as f64, own), odds(sum(counts) - counts[class] as f64, all - own));
            (mine.1 - theirs.1) / (1.0 / mine.0 + 1.0 / theirs.0).sqrt()
        };
        let often = self.counts.iter().filter(|(_, counts)| counts.iter().sum::<u64>() >= MIN_COMMENTS);
        let mut found: Vec<Telling> = often
            .map(|(word, counts)| Telling { word: word.clone(), counts: *counts, z: score(counts) })
            .filter(|telling| telling.z >= MIN_Z)
            .collect();
        found.sort_by(|a, b| b.z.total_cmp(&a.z).then_with(|| a.word.cmp(&b.word)));
        found.truncate(most);
        found
    }
}

/// A word without the marks around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && !is_emoji(c))
}

fn is_word(word: &str) -> bool {
    let length = word.chars().count();
    length <= MAX_LENGTH
        && (length >= 2 || word.chars().all(is_emoji))
        && !word.is_empty()
        && !word.starts_with('@')
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f300}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_class_are_found() {
        let mut words = Words::default();
        for i in 0..60 {
            words.add(&format!("영상 최고 최고! {i}"), 0);
            words.add(&format!("영상 몇 시에 하나요? {}", i + 100), 1);
            words.add(&format!("영상 별로 😡 {}", i + 200), 2);
        }
        let found = |class: usize| -> Vec<String> {
            words.telling(class, 9).into_iter().map(|telling| telling.word).collect()
        };
        assert_eq!(found(0), ["최고"]);
        assert_eq!(found(1), ["시에", "하나요"]);
        assert_eq!(found(2), ["별로", "😡"]);
        // Once per comment.
        assert_eq!(words.telling(0, 1)[0].counts, [60, 0, 0]);
    }

    #[test]
    fn there_are_not_endlessly_many() {
        let mut words = Words::default();
        for i in 0..=MAX_WORDS {
            words.add(&format!("낱말{i} 흔한"), i % 3);
        }
        assert!(words.dropped && words.counts.len() <= MAX_WORDS);
        assert_eq!(words.counts["흔한"].iter().sum::<u64>(), MAX_WORDS as u64 + 1);
    }
}
