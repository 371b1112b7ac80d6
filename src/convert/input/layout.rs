//! Where a checkpoint or an adapter keeps the text model's modules: in models that read pictures, they lie one
//! level deeper, in either of two ways.

use std::borrow::Cow;

/// How the names of the text model's modules begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// `model.layers…`, `lm_head`.
    #[default]
    Text,
    /// `language_model.model.layers…`, `language_model.lm_head`: older files.
    Outer,
    /// `model.language_model.layers…`, `lm_head`: newer files.
    Inner,
}

impl Layout {
    /// The layout that a tensor's or module's name shows.
    pub fn of(name: &str) -> Self {
        if name.starts_with("language_model.model.") || name.starts_with("language_model.lm_head") {
            Self::Outer
        } else if name.starts_with("model.language_model.") {
            Self::Inner
        } else {
            Self::Text
        }
    }

    /// The name that a module of a text model has in this layout.
    pub fn own_name(self, module: &str) -> Cow<'_, str> {
        match (self, module.strip_prefix("model.")) {
            (Self::Outer, _) => Cow::Owned(format!("language_model.{module}")),
            (Self::Inner, Some(rest)) => Cow::Owned(format!("model.language_model.{rest}")),
            _ => Cow::Borrowed(module),
        }
    }
}

/// The name that a tensor or module has in a text model, whatever the layout.
pub fn text_name(name: &str) -> Cow<'_, str> {
    match Layout::of(name) {
        Layout::Text => Cow::Borrowed(name),
        Layout::Outer => Cow::Borrowed(&name["language_model.".len()..]),
        Layout::Inner => Cow::Owned(format!("model.{}", &name["model.language_model.".len()..])),
    }
}

/// Whether a tensor is of the part that reads pictures.
pub fn is_vision(name: &str) -> bool {
    let name = name.strip_prefix("model.").unwrap_or(name);
    name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_layout_are_the_text_models() {
        let check = |own: &str, layout: Layout, text: &str| {
            assert_eq!((Layout::of(own), text_name(own).as_ref()), (layout, text), "{own}");
            assert_eq!(layout.own_name(text), own);
        };
        check("model.layers.0.self_attn.q_proj", Layout::Text, "model.layers.0.self_attn.q_proj");
        check("language_model.model.norm", Layout::Outer, "model.norm");
        check("language_model.lm_head", Layout::Outer, "lm_head");
        check("model.language_model.layers.3.mlp.up_proj", Layout::Inner, "model.layers.3.mlp.up_proj");
        assert_eq!(Layout::Inner.own_name("lm_head"), "lm_head");
    }

    #[test]
    fn pictures_are_told_from_text() {
        for name in ["vision_tower.vision_model.x", "model.vision_tower.encoder.x", "multi_modal_projector.x"]
        {
            assert!(is_vision(name), "{name}");
        }
        assert!(!is_vision("model.layers.0.self_attn.q_proj.weight"));
    }
}
