//! Questions that wait, those of a video one after the other.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::ask::Question;

/// A video's title and summary.
type Video = (Option<String>, Option<String>);

/// Questions that wait. The video of the question given last comes first, then that of the oldest.
#[derive(Debug, Default)]
pub struct Queue {
    ids: HashMap<Video, u64>,
    videos: HashMap<u64, (Video, VecDeque<(u64, Question)>)>,
    /// The oldest question of each video.
    oldest: BTreeMap<u64, u64>,
    current: Option<u64>,
    bytes: usize,
}

impl Queue {
    /// Adds the question of a row; rows come in their order.
    pub fn push(&mut self, row: u64, question: Question) {
        self.bytes += size(&question);
        let video = (question.video_title.clone(), question.video_summary.clone());
        let id = *self.ids.entry(video.clone()).or_insert(row);
        let (_, waiting) = self.videos.entry(id).or_insert_with(|| {
            self.oldest.insert(row, id);
            (video, VecDeque::new())
        });
        waiting.push_back((row, question));
    }

    /// Takes the next question.
    pub fn pop(&mut self) -> Option<(u64, Question)> {
        let id = self.current.or_else(|| self.oldest.first_key_value().map(|(_, id)| *id))?;
        let (video, waiting) = self.videos.get_mut(&id)?;
        let (row, question) = waiting.pop_front()?;
        self.oldest.remove(&row);
        self.bytes -= size(&question);
        match waiting.front() {
            Some((next, _)) => {
                self.oldest.insert(*next, id);
                self.current = Some(id);
            }
            None => {
                self.ids.remove(video);
                self.videos.remove(&id);
                self.current = None;
            }
        }
        Some((row, question))
    }

    /// Bytes of the texts that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(question: &Question) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    question.comment.len() + length(&question.video_title) + length(&question.video_summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_videos_questions_come_together() {
        let mut queue = Queue::default();
        let push = |queue: &mut Queue, row: u64, title: &str| {
            let video_title = Some(title.to_owned()).filter(|title| !title.is_empty());
            queue.push(row, Question { comment: "x".into(), video_title, video_summary: None });
        };
        for (row, title) in ["a", "b", "", "a", "b", "c"].into_iter().enumerate() {
            push(&mut queue, row as u64, title);
        }
        let mut order: Vec<u64> = (0..3).map(|_| queue.pop().unwrap().0).collect();
        push(&mut queue, 6, "b");
        push(&mut queue, 7, "a");
        order.extend(std::iter::from_fn(|| queue.pop()).map(|(row, _)| row));
        assert_eq!(order, [0, 3, 1, 4, 6, 2, 5, 7]);
        assert_eq!((queue.bytes(), queue.ids.len(), queue.videos.len(), queue.oldest.len()), (0, 0, 0, 0));
    }
}
