//! Segments that many jobs share: the pinned static prompt, and below it one node for each
//! video, kept in the KV cache as a sequence of its own and forked by the jobs that need it.

use std::collections::HashMap;
use std::sync::Arc;

use super::backend::SeqId;
use crate::text::vocabulary::Token;

/// A node's place in the tree.
pub type NodeId = usize;

/// A shared segment.
#[derive(Debug)]
pub struct Node {
    /// Its tokens, which follow the pinned prefix.
    pub tokens: Arc<[Token]>,
    /// The sequence that holds them.
    pub seq: SeqId,
    /// Tokens computed so far.
    pub done: usize,
    /// Jobs that use it now.
    pub users: usize,
    last_used: u64,
}

impl Node {
    /// All its tokens are computed.
    pub fn ready(&self) -> bool {
        self.done == self.tokens.len()
    }
}

/// The nodes, found by their tokens, forgotten least recently used first.
#[derive(Debug, Default)]
pub struct PrefixTree {
    nodes: HashMap<NodeId, Node>,
    by_tokens: HashMap<Arc<[Token]>, NodeId>,
    clock: u64,
}

impl PrefixTree {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The node of these tokens.
    pub fn find(&self, tokens: &Arc<[Token]>) -> Option<NodeId> {
        self.by_tokens.get(tokens).copied()
    }

    /// A new node, of which nothing is computed.
    pub fn insert(&mut self, tokens: Arc<[Token]>, seq: SeqId) -> NodeId {
        self.clock += 1;
        let id = NodeId::try_from(self.clock).unwrap_or(NodeId::MAX);
        self.by_tokens.insert(tokens.clone(), id);
        self.nodes.insert(id, Node { tokens, seq, done: 0, users: 0, last_used: self.clock });
        id
    }

    /// A node.
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// Notes that `count` more tokens of a node are computed.
    pub fn advance(&mut self, id: NodeId, count: usize) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.done += count;
        }
    }

    /// A job begins to use a node.
    pub fn acquire(&mut self, id: NodeId) {
        self.clock += 1;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.users += 1;
            node.last_used = self.clock;
        }
    }

    /// A job ends its use of a node.
    pub fn release(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.users -= 1;
        }
    }

    /// Takes out a node, whoever uses it.
    pub fn remove(&mut self, id: NodeId) -> Option<Node> {
        let node = self.nodes.remove(&id)?;
        self.by_tokens.remove(&node.tokens);
        Some(node)
    }

    /// Sequences and cells that evicting every unused node other than `keep` would free.
    pub fn idle(&self, keep: Option<NodeId>) -> (usize, usize) {
        let unused = self.nodes.iter().filter(|(id, node)| node.users == 0 && Some(**id) != keep);
        unused.fold((0, 0), |(seqs, cells), (_, node)| (seqs + 1, cells + node.tokens.len()))
    }

    /// Takes out the unused node that was used longest ago, other than `keep`.
    pub fn evict(&mut self, keep: Option<NodeId>) -> Option<Node> {
        let unused = self.nodes.iter().filter(|(id, node)| node.users == 0 && Some(**id) != keep);
        let id = *unused.min_by_key(|(_, node)| node.last_used)?.0;
        self.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_used_stay() {
        let mut tree = PrefixTree::default();
        let tokens = |t: Token| -> Arc<[Token]> { vec![t; 3].into() };
        let [a, b, c] = [1, 2, 3].map(|t| tree.insert(tokens(t), t));
        tree.acquire(a);
        tree.acquire(b);
        tree.release(b);
        assert_eq!(tree.find(&tokens(2)), Some(b));
        assert_eq!(tree.idle(Some(c)), (1, 3), "c is kept, a is in use");
        assert_eq!(tree.evict(Some(c)).unwrap().seq, 2);
        assert_eq!(tree.find(&tokens(2)), None);
        assert_eq!(tree.evict(None).unwrap().seq, 3);
        assert!(tree.evict(None).is_none());
        tree.release(a);
        tree.advance(a, 3);
        assert!(tree.get(a).unwrap().ready());
        assert_eq!(tree.evict(None).unwrap().seq, 1);
        assert_eq!(tree.len(), 0);
    }
}
