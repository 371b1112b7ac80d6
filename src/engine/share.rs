//! How urgent a job is, and whose.

/// How urgent a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits for this answer.
    #[default]
    Interactive,
    /// One of many, whose end somebody waits for.
    Bulk,
}

impl Class {
    /// Tokens that the other class gets for each token of this one, when both wait.
    pub(super) fn other_for_each(self) -> f64 {
        Self::ALL.into_iter().filter(|class| *class != self).map(Self::weight).sum::<f64>() / self.weight()
    }

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }

    /// All of them.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Bulk];

    /// Its weight beside the other: with both waiting, bulk gets a tenth.
    pub(super) fn weight(self) -> f64 {
        match self {
            Self::Interactive => 9.0,
            Self::Bulk => 1.0,
        }
    }
}

/// Whose job it is, and what part they are entitled to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// How urgent it is.
    pub class: Class,
    /// The caller: jobs of one number share what is theirs.
    pub caller: u64,
    /// Beside other callers of the class; above 0.
    pub weight: f64,
}

impl Default for Share {
    fn default() -> Self {
        Self { class: Class::default(), caller: 0, weight: 1.0 }
    }
}
