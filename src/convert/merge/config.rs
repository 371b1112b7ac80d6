//! `adapter_config.json`: what a merge takes from it, and what it refuses.
//!
//! Source: PEFT's `LoraConfig`.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::error::AdapterError;
use super::modules::{Match, Modules, NamesOrPattern, NumberPatterns};
use crate::text::shown::shown;

/// The part of `adapter_config.json` that changes a merge.
#[derive(Debug, Clone)]
pub struct AdapterConfig {
    /// LoRA's rank.
    pub r: u32,
    /// LoRA's numerator: the update is scaled by alpha / r.
    pub lora_alpha: f64,
    use_rslora: bool,
    /// Whether each row is set to a trained length.
    pub use_dora: bool,
    target_modules: Option<Modules>,
    exclude_modules: Option<Modules>,
    modules_to_save: Vec<String>,
    layers_to_transform: Vec<i64>,
    layers_pattern: Vec<String>,
    rank_pattern: NumberPatterns,
    alpha_pattern: NumberPatterns,
    /// Whether a trained embedding was tied to the head in training, too.
    pub ensure_weight_tying: bool,
    /// The base that the adapter was trained on.
    pub base_model_name_or_path: Option<String>,
}

/// Settings that do not change a merge, whatever they say.
///
/// `fan_in_fan_out` is among them because PEFT itself sets it to false for `nn.Linear`, and Gemma's
/// projections are all that; `eva_config` only chooses how A and B start.
const HARMLESS: [&str; 17] = [
    "auto_mapping",
    "corda_config",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "parent_library",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "velora_config",
];

/// Settings that PEFT merges rightly.
const PEFT_MERGES: [&str; 5] =
    ["bias", "lora_bias", "trainable_token_indices", "target_parameters", "layer_replication"];

/// Types of adapters whose weights PEFT can merge into the base's.
const MERGEABLE: [&str; 19] = [
    "ADALORA",
    "BOFT",
    "BONE",
    "C3A",
    "DELORA",
    "FOURIERFT",
    "GRALORA",
    "HRA",
    "IA3",
    "LN_TUNING",
    "LOHA",
    "LOKR",
    "MISS",
    "OFT",
    "RANDLORA",
    "ROAD",
    "SHIRA",
    "VBLORA",
    "VERA",
];

/// Types that add tokens or states to the input, which no weight can hold.
const NOT_MERGEABLE: [&str; 7] = [
    "ADAPTION_PROMPT",
    "CARTRIDGE",
    "CPT",
    "MULTITASK_PROMPT_TUNING",
    "P_TUNING",
    "PREFIX_TUNING",
    "PROMPT_TUNING",
];

const MERGE_WITH_PEFT: &str = ": merge it with PEFT's merge_and_unload and convert the result";
const CANT_BE_MERGED: &str = ": it acts on the input, and can't be merged into the weights at all";
const CONVERT_INIT: &str = ", for it changes the base's own weights: save the adapter again with PEFT's save_pretrained(path_initial_model_for_weight_conversion=…), from the run that trained it";
const OTHER_INIT: &str =
    ", for it changes the base's own weights: train with another start, such as init_lora_weights=True";

impl AdapterConfig {
    /// Reads `adapter_config.json` and refuses what a merge would get wrong.
    ///
    /// # Errors
    /// [`AdapterError::Config`], [`AdapterError::PeftType`], [`AdapterError::Setting`],
    /// [`AdapterError::Pattern`].
    pub fn parse(json: Json, path: &Path) -> Result<Self, AdapterError> {
        check_type(&json, path)?;
        let Json::Object(settings) = json else { return Err(bad(path, "not a JSON object".to_owned())) };
        let mut fields = Fields { settings, path };
        let config = Self::take(&mut fields)?;
        check_init(fields.take("init_lora_weights")?)?;
        let bias: Option<String> = fields.take("bias")?;
        if let Some(bias) = bias.filter(|bias| bias != "none") {
            return Err(refusal("bias", &Json::from(bias)));
        }
        fields.settings.remove("peft_type");
        let is_refused =
            |(key, value): &(&String, &Json)| !HARMLESS.contains(&key.as_str()) && !is_off(value);
        match fields.settings.iter().find(is_refused) {
            Some((key, value)) => Err(refusal(key, value)),
            None => Ok(config),
        }
    }

    fn take(fields: &mut Fields) -> Result<Self, AdapterError> {
        let mut modules = |key| match fields.take::<NamesOrPattern>(key)? {
            Some(value) => Modules::parse(key, value),
            None => Ok(None),
        };
        let (target_modules, exclude_modules) = (modules("target_modules")?, modules("exclude_modules")?);
        let mut numbers = |key| {
            let map: Option<Map<String, Json>> = fields.take(key)?;
            NumberPatterns::parse(key, &map.unwrap_or_default())
        };
        let (rank_pattern, alpha_pattern) = (numbers("rank_pattern")?, numbers("alpha_pattern")?);
        let layers: Option<OneOrMany<i64>> = fields.take("layers_to_transform")?;
        let layers_pattern: Option<OneOrMany<String>> = fields.take("layers_pattern")?;
        let r = fields.require("r", "a whole number")?;
        if r == 0 {
            return Err(bad(fields.path, "r must be at least 1".to_owned()));
        }
        Ok(Self {
            r,
            lora_alpha: fields.require("lora_alpha", "a number")?,
            use_rslora: fields.take("use_rslora")?.unwrap_or(false),
            use_dora: fields.take("use_dora")?.unwrap_or(false),
            target_modules,
            exclude_modules,
            modules_to_save: fields.take("modules_to_save")?.unwrap_or_default(),
            layers_to_transform: layers.map(OneOrMany::into_vec).unwrap_or_default(),
            layers_pattern: layers_pattern.map(OneOrMany::into_vec).unwrap_or_default(),
            rank_pattern,
            alpha_pattern,
            ensure_weight_tying: fields.take("ensure_weight_tying")?.unwrap_or(false),
            base_model_name_or_path: fields.take("base_model_name_or_path")?,
        })
    }

    /// Whether LoRA is put on a linear module or an embedding of this name.
    ///
    /// # Errors
    /// [`AdapterError::Pattern`] for a pattern that takes too long.
    pub fn targets(&self, module: &str, is_linear: bool) -> Result<bool, AdapterError> {
        let excluded = self.exclude_modules.as_ref().map(|m| m.find(module)).transpose()?.flatten();
        if excluded.is_some() || self.is_around(module) {
            return Ok(false);
        }
        match &self.target_modules {
            None => Ok(false),
            Some(Modules::AllLinear) => Ok(is_linear && !module.ends_with("lm_head")),
            Some(modules) => Ok(match modules.find(module)? {
                None => false,
                // A full name is meant whatever layers_to_transform says.
                Some(Match::Whole) => true,
                Some(Match::Ending) => self.transforms_layer(module),
            }),
        }
    }

    /// Whether `modules_to_save` names this module or one around it, dot by dot: LoRA is not put on it then.
    fn is_around(&self, module: &str) -> bool {
        let dotted = format!(".{module}.");
        self.modules_to_save.iter().any(|name| dotted.contains(&format!(".{name}.")))
    }

    /// Whether `modules_to_save` has PEFT save this module whole, or one around it: by the end of the name,
    /// even within a word.
    pub fn saves(&self, module: &str) -> bool {
        let ends = module.match_indices('.').map(|(at, _)| at).chain([module.len()]);
        let mut around = ends.map(|end| &module[..end]);
        around.any(|around| self.modules_to_save.iter().any(|name| around.ends_with(name.as_str())))
    }

    fn transforms_layer(&self, module: &str) -> bool {
        if self.layers_to_transform.is_empty() {
            return true;
        }
        let mut parts = module.split('.').peekable();
        while let Some(part) = parts.next() {
            let Some(layer) = parts.peek().and_then(|next| next.parse::<i64>().ok()) else { continue };
            if self.layers_pattern.is_empty() || self.layers_pattern.iter().any(|p| p == part) {
                return self.layers_to_transform.contains(&layer);
            }
        }
        false
    }

    /// The rank and the scale of a module's update: alpha / r, or alpha / √r with rsLoRA.
    ///
    /// # Errors
    /// [`AdapterError::Pattern`] for a pattern that takes too long.
    pub fn rank_and_scale(&self, module: &str) -> Result<(u64, f32), AdapterError> {
        let rank = self.rank_pattern.find(module)?.unwrap_or(f64::from(self.r));
        let alpha = self.alpha_pattern.find(module)?.unwrap_or(self.lora_alpha);
        let divisor = if self.use_rslora { rank.sqrt() } else { rank };
        Ok((rank as u64, (alpha / divisor) as f32))
    }
}

/// The settings that are not read yet.
struct Fields<'a> {
    settings: Map<String, Json>,
    path: &'a Path,
}

impl Fields<'_> {
    /// A setting of this type; null is as if it were not there.
    fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, AdapterError> {
        match self.settings.remove(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => {
                let said = shown(&value.to_string());
                let parsed = serde_json::from_value(value);
                parsed
                    .map(Some)
                    .map_err(|_| bad(self.path, format!("{key} is {said}, which is of the wrong type")))
            }
        }
    }

    fn require<T: DeserializeOwned>(&mut self, key: &str, expected: &str) -> Result<T, AdapterError> {
        let value = self.take(key)?;
        value.ok_or_else(|| bad(self.path, format!("{key} must be {expected}")))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

fn bad(path: &Path, reason: String) -> AdapterError {
    AdapterError::Config { path: path.to_owned(), reason }
}

/// Refuses what isn't LoRA, and says what can be done with it.
fn check_type(json: &Json, path: &Path) -> Result<(), AdapterError> {
    let kind = json.get("peft_type").and_then(Json::as_str);
    match kind {
        Some("LORA") => Ok(()),
        Some(kind) => {
            let is_in = |list: &[&str]| list.contains(&kind);
            let advice = match () {
                () if is_in(&MERGEABLE) => MERGE_WITH_PEFT,
                () if is_in(&NOT_MERGEABLE) => CANT_BE_MERGED,
                () => "",
            };
            Err(AdapterError::PeftType { kind: kind.to_owned(), advice })
        }
        None if json.get("fine_tune_type").is_some() || json.get("lora_parameters").is_some() => Err(bad(
            path,
            "this is an adapter of MLX, not of PEFT: fuse it with mlx_lm.fuse, and convert the result"
                .to_owned(),
        )),
        None => {
            Err(bad(path, "it has no peft_type, so the adapter is not PEFT's: save it with PEFT".to_owned()))
        }
    }
}

/// Refuses ways to start that change the base's own weights.
fn check_init(init: Option<Json>) -> Result<(), AdapterError> {
    let Some(Json::String(how)) = init else { return Ok(()) };
    if ["gaussian", "eva", "orthogonal"].contains(&how.as_str()) {
        return Ok(());
    }
    let converts = ["pissa", "olora", "corda"].iter().any(|start| how.starts_with(start));
    let advice = if converts { CONVERT_INIT } else { OTHER_INIT };
    Err(AdapterError::Setting { key: "init_lora_weights".to_owned(), value: how, advice })
}

fn refusal(key: &str, value: &Json) -> AdapterError {
    let advice = match key {
        key if PEFT_MERGES.contains(&key) => MERGE_WITH_PEFT,
        "alora_invocation_tokens" => {
            ": it acts after its invocation tokens alone, and can't be merged at all"
        }
        _ => "",
    };
    AdapterError::Setting { key: key.to_owned(), value: value.to_string(), advice }
}

/// Values that mean that a setting is not used.
fn is_off(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(on) => !on,
        Json::Array(list) => list.is_empty(),
        Json::Object(map) => map.is_empty(),
        Json::String(text) => text.is_empty(),
        Json::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An ordinary configuration with other settings.
    fn parse(changes: Json) -> Result<AdapterConfig, AdapterError> {
        let mut config =
            json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]});
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        AdapterConfig::parse(config, Path::new("adapter_config.json"))
    }

    fn refusal_of(changes: Json) -> String {
        parse(changes).unwrap_err().to_string()
    }

    #[test]
    fn null_is_as_if_it_were_not_there() {
        let keys = [
            "use_rslora",
            "use_dora",
            "ensure_weight_tying",
            "exclude_modules",
            "modules_to_save",
            "rank_pattern",
            "alpha_pattern",
            "layers_to_transform",
            "layers_pattern",
            "bias",
            "init_lora_weights",
            "lora_bias",
        ];
        for key in keys {
            assert!(parse(json!({key: null})).is_ok(), "{key}");
        }
        for (key, value) in [("r", json!(null)), ("lora_alpha", json!("8")), ("use_dora", json!("yes"))] {
            assert!(refusal_of(json!({key: value})).contains(&format!("{key} ")), "{key}");
        }
    }

    #[test]
    fn the_advice_is_only_what_works() {
        let check = |changes: Json, advice: &str| {
            let refused = refusal_of(changes);
            assert!(refused.contains(advice), "{refused}");
            assert_eq!(refused.contains("merge_and_unload"), advice == "merge_and_unload", "{refused}");
        };
        for kind in ["LOHA", "IA3", "BOFT"] {
            check(json!({"peft_type": kind}), "merge_and_unload");
        }
        check(json!({"trainable_token_indices": [1]}), "merge_and_unload");
        for kind in ["PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING"] {
            check(json!({"peft_type": kind}), "can't be merged");
        }
        check(json!({"alora_invocation_tokens": [5]}), "can't be merged");
        for how in ["pissa", "pissa_niter_16", "olora", "corda"] {
            check(json!({"init_lora_weights": how}), "path_initial_model_for_weight_conversion");
        }
        for how in ["lora_ga", "loftq"] {
            check(json!({"init_lora_weights": how}), "another start");
        }
        check(json!({"peft_type": "MARVEL"}), "only LORA");
        check(json!({"peft_type": null, "fine_tune_type": "lora"}), "MLX");
    }

    #[test]
    fn a_full_name_is_meant_in_every_layer() {
        let config = parse(json!({
            "target_modules": ["v_proj", "model.layers.0.self_attn.q_proj"], "layers_to_transform": [1],
        }))
        .unwrap();
        let targets = |module: &str| config.targets(module, true).unwrap();
        assert!(targets("model.layers.0.self_attn.q_proj"));
        assert!(!targets("model.layers.1.self_attn.q_proj"));
        assert!(!targets("model.layers.0.self_attn.v_proj"));
        assert!(targets("model.layers.1.self_attn.v_proj"));
    }

    #[test]
    fn modules_are_saved_by_the_end_of_a_name() {
        let config = parse(json!({"modules_to_save": ["input_layernorm", "mlp"]})).unwrap();
        assert!(config.saves("model.layers.0.input_layernorm"));
        assert!(config.saves("model.layers.0.mlp.up_proj"));
        assert!(!config.saves("model.layers.0.self_attn.q_proj"));
        assert!(parse(json!({"modules_to_save": ["norm"]})).unwrap().saves("model.layers.0.input_layernorm"));
    }

    #[test]
    fn patterns_are_bounded() {
        for key in ["target_modules", "exclude_modules"] {
            let long = refusal_of(json!({key: "x*".repeat(60_000)}));
            assert!(long.contains(key) && long.contains("longer than 32 KiB"), "{long}");
            assert!(long.chars().count() < 300, "{long}");
        }
        let many: Map<String, Json> =
            (0..20).map(|i| (format!("{i}{}", "x".repeat(20_000)), json!(2))).collect();
        assert!(refusal_of(json!({"rank_pattern": many})).contains("256 KiB in all"));
        let slow = parse(json!({"target_modules": r"(?=(.*.*.*.*)*\1y)x"})).unwrap();
        let module = "model.layers.0.self_attn.q_proj";
        assert!(matches!(slow.targets(module, true), Err(AdapterError::Pattern { .. }) | Ok(false)));
    }
}
