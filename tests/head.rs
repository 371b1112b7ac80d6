//! Rows of logits that are reduced while they are computed, against the same rows written whole: Gemma 2 with its soft-cap,
//! Gemma 3, and heads of every type that there are products for.

use std::sync::Arc;

use ko_sentiment::engine::backend::{Backend, Batch, Output};
use ko_sentiment::engine::logits::log_sum_exp;
use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::llama::{ContextOptions, LlamaContext, Model, product_types};

use crate::attention::add;
use crate::products::{OURS, model};

const COLUMNS: [i32; 4] = [0, 130, 131, 767];

/// Steps of two prompts that ask for nothing, scores, columns and all in turn, of columns before and after others, of columns
/// alone, and of a single output in the first part of a step that is cut in two. Each adds tokens to both.
fn steps(columns: &[i32]) -> [Batch; 5] {
    use Output::{Columns, None, Row, Scores};
    let mixed = vec![None, Scores, Columns, Scores, Row];
    let steps = [
        ([0, 0], [41, 18], mixed.clone()),
        ([41, 18], [15, 3], [vec![Columns; 13], mixed.clone()].concat()),
        ([56, 21], [4, 3], vec![Columns]),
        ([60, 24], [9, 9], [vec![Scores], vec![Columns; 17]].concat()),
        ([69, 33], [30, 8], [vec![None; 31], vec![Columns, Scores], mixed].concat()),
    ];
    steps.map(|(first, lengths, wanted)| {
        let mut batch = Batch::default();
        for (seq, (first, length)) in (0..).zip(first.into_iter().zip(lengths)) {
            add(&mut batch, &[seq], first, length);
        }
        let wanted = wanted.into_iter().cycle();
        batch.tokens.iter_mut().zip(wanted).for_each(|(token, output)| token.output = output);
        batch.outputs = batch.tokens.iter().filter(|token| token.output != None).count();
        batch.columns.extend(columns);
        batch
    })
}

/// What each step's rows give; with `whole`, rows whose scores are wanted are written whole, and reduced by us.
fn results(model: &Arc<Model>, options: ContextOptions, whole: bool) -> Vec<f64> {
    let mut context = LlamaContext::new(model.clone(), options).unwrap();
    let mut results = Vec::new();
    for mut batch in steps(&COLUMNS) {
        let asked: Vec<Output> = batch.tokens.iter().map(|token| token.output).collect();
        if whole {
            let less = batch.tokens.iter_mut().filter(|token| token.output != Output::None);
            less.for_each(|token| token.output = Output::Row);
        }
        context.decode(&batch).unwrap();
        for (row, asked) in asked.into_iter().enumerate() {
            let is_whole = context.logits(row).is_some();
            match asked {
                Output::None => assert!(!is_whole && context.log_sums(&[row])[0].is_nan()),
                Output::Row => results.extend(context.logits(row).unwrap().iter().map(|x| f64::from(*x))),
                Output::Scores | Output::Columns => {
                    assert_eq!(is_whole, whole || product_types().is_empty(), "row {row}");
                    results.extend(COLUMNS.map(|token| f64::from(context.logit(row, token).unwrap())));
                    let sum = context.log_sums(&[row])[0];
                    results.extend(Some(sum).filter(|_| asked == Output::Scores));
                    assert_eq!(sum.is_nan(), asked == Output::Columns && !is_whole);
                    assert!(is_whole || context.logit(row, 1).is_none(), "a column that was not asked for");
                }
            }
            if asked == Output::Scores && whole {
                let expect = log_sum_exp(context.logits(row).unwrap());
                assert_eq!(context.log_sums(&[row]), [expect]);
            }
        }
    }
    results
}

fn agree(folder: &str) {
    for file_type in [FileType::Q4KM, FileType::Q6K, FileType::Q8_0] {
        let model = model(folder, file_type);
        // A step is cut in two, so that some rows come later.
        for options in [OURS, ContextOptions { ubatch: 32, ..OURS }] {
            let (reduced, whole) = (results(&model, options, false), results(&model, options, true));
            assert_eq!(reduced.len(), whole.len());
            for (i, (reduced, whole)) in reduced.iter().zip(&whole).enumerate() {
                assert!((reduced - whole).abs() < 1e-5, "{file_type:?}, number {i}: {reduced} and {whole}");
            }
        }
    }
}

#[test]
fn gemma_2_gives_the_same_scores() {
    agree("checkpoint");
}

#[test]
fn gemma_3_gives_the_same_scores() {
    agree("gemma3");
}

#[test]
fn threads_change_no_bit_of_a_score() {
    let model = model("gemma3", FileType::Q6K);
    let expected = results(&model, ContextOptions { threads: 1, ..OURS }, false);
    for threads in [2, 5] {
        assert!(results(&model, ContextOptions { threads, ..OURS }, false) == expected, "{threads} threads");
    }
}

#[test]
fn a_step_after_one_with_scores_has_whole_rows_again() {
    let model = model("gemma3", FileType::Q6K);
    let rows = |whole_before: bool| {
        let mut context = LlamaContext::new(model.clone(), OURS).unwrap();
        let [mut first, mut second, ..] = steps(&COLUMNS);
        let all_whole = |batch: &mut Batch| {
            batch.tokens.iter_mut().for_each(|token| token.output = Output::Row);
            batch.outputs = batch.len();
            batch.columns.clear();
        };
        if whole_before {
            all_whole(&mut first);
        }
        context.decode(&first).unwrap();
        all_whole(&mut second);
        context.decode(&second).unwrap();
        (0..second.len()).flat_map(|row| context.logits(row).unwrap().to_vec()).collect::<Vec<_>>()
    };
    assert!(rows(false) == rows(true));
}
