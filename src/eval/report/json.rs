//! The report for a program.

use serde_json::{Map, Value, json};

use super::content::{Comparison, Reliability, Report};
use crate::eval::SEED;
use crate::eval::folds::FOLDS;
use crate::eval::recalibration::{Rare, Recalibration};
use crate::sentiment::labels::Sentiment;

impl Report {
    /// For a program. Keys and class names are stable; shares are in 0..=1, divergences in nats.
    pub fn json(&self) -> Value {
        let mut report = self.answers();
        if let Some(Reliability { trust, bins, selective }) = &self.reliability {
            report["log_loss"] = json!(trust.log_loss);
            report["brier"] = json!(trust.brier);
            report["ece"] = json!(trust.ece);
            report["reliability"] = json!(bins);
            report["selective"] = json!(selective);
        }
        if let Some(intervals) = &self.intervals {
            report["intervals_95"] = json!(intervals);
        }
        if let Some(withheld) = &self.withheld {
            report["withheld"] = json!(withheld);
        }
        if let Some(change) = &self.calibration {
            report["calibration"] = recalibration(change);
        }
        if let Some(Comparison { fidelity, differs }) = &self.fidelity {
            report["fidelity"] = json!(fidelity);
            report["fidelity"]["flip_rate"] = json!(fidelity.flip_rate());
            report["fidelity"]["differs"] = json!(differs);
        }
        if !self.slices.is_empty() {
            report["slices"] = json!(self.slices);
        }
        if let Some(reasons) = &self.reasons {
            report["reasons"] = json!(reasons);
        }
        if let Some((rows, seconds)) = self.speed {
            report["seconds"] = json!(seconds);
            report["comments_per_second"] = json!(rows as f64 / seconds);
        }
        report
    }

    /// Whose answers these are, and how they are counted.
    fn answers(&self) -> Value {
        let classes: Map<String, Value> = Sentiment::ALL
            .into_iter()
            .map(|class| (class.name().into(), json!(self.confusion.scores(class))))
            .collect();
        json!({
            "model": self.model,
            "model_sha256": self.identity.model,
            "profile_sha256": self.identity.profile,
            "data": self.data,
            "data_sha256": self.identity.data,
            "mode": self.identity.mode,
            "options": self.identity.options,
            "limit": self.limit,
            "rows": self.confusion.total(),
            "accuracy": self.confusion.accuracy(),
            "macro_f1": self.confusion.macro_average().f1,
            "classes": classes,
            "macro_avg": self.confusion.macro_average(),
            "weighted_avg": self.confusion.weighted_average(),
            "confusion": self.confusion.counts,
            "unreadable": self.confusion.unreadable,
        })
    }
}

fn recalibration(change: &Recalibration) -> Value {
    let rare: Map<String, Value> = change
        .rare
        .iter()
        .map(|Rare { label, rows, kind }| {
            let kind = kind.map(|kind| format!(" {kind}")).unwrap_or_default();
            (format!("{}{kind}", label.name()), json!(rows))
        })
        .collect();
    let kept: Map<String, Value> =
        change.kept.iter().map(|(kind, fault)| ((*kind).into(), json!(fault.to_string()))).collect();
    json!({
        "balance": change.balance,
        "parts": FOLDS,
        "seed": SEED,
        "before": change.before,
        "after": change.after,
        "fitted": change.fitted,
        "selective": change.selective,
        "rare_labels": rare,
        "kept": kept,
    })
}
