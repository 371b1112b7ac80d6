//! What a step computes of a text: its last token, and tokens that are bound or likely to follow.

use crate::engine::draft::Drafter;
use crate::engine::job::bound;
use crate::engine::running::Running;
use crate::text::vocabulary::Token;

/// A token, and what the next one is chosen from; `None` for the whole vocabulary.
pub(super) type Ahead = (Token, Option<Vec<Token>>);

/// `next` and what follows it, at most `most` tokens: those that its guide leaves no choice about, and those that are drafted
/// as long as its guide allows them.
pub(super) fn ahead(drafter: &mut Drafter, r: &mut Running, next: Token, most: usize) -> Vec<Ahead> {
    let Some(generation) = r.job.spec.generation.as_ref() else { return vec![(next, None)] };
    // The last token is not computed: nothing follows it.
    let left = generation.max_tokens.saturating_sub(r.stats.generated_tokens + 1);
    let (most, is_end) = (most.min(left), |token: Token| (generation.is_end)(token));
    let mut drafted = drafter.draft(&mut r.text, most, is_end);
    drafted.reverse();
    let mut guide = generation.guide.as_ref().map(|guide| guide.fork());
    let (mut found, mut token, mut is_guess, mut guesses) = (Vec::new(), next, false, 0);
    loop {
        let choices = guide.as_ref().and_then(|guide| guide.choices());
        let bound = bound(choices.as_deref());
        // Nothing is computed after a token that only an end can follow.
        if !found.is_empty() && bound.is_some_and(is_end) {
            break;
        }
        let guess = drafted.pop();
        let allowed = |guess: &Token| match (&choices, &guide) {
            (Some(choices), _) => choices.contains(guess),
            (None, Some(guide)) => !guide.refuses(*guess),
            (None, None) => true,
        };
        let following =
            if bound.is_some() { bound.filter(|_| drafter.is_on()) } else { guess.filter(allowed) };
        found.push((token, choices));
        guesses += usize::from(is_guess);
        let Some(following) = following.filter(|following| found.len() <= most && !is_end(*following)) else {
            break;
        };
        // A draft that begins otherwise says nothing of what comes later.
        if guess != Some(following) {
            drafted.clear();
        }
        is_guess = bound.is_none();
        if let Some(guide) = &mut guide {
            guide.chose(following);
        }
        token = following;
    }
    drafter.computed(guesses);
    found
}
