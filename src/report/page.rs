//! The page: sections of text, charts and tables, in one file without scripts and without anything from elsewhere.

use std::fmt::Write as _;

use super::charts;
use super::collect::Findings;
use super::html::{Language, count, escaped, percent};
use super::time::{self, Step};
use super::top::Sample;
use super::words::Telling;

const STYLE: &str = include_str!("style.css");
/// Videos in the table.
const VIDEOS: usize = 30;
/// Words of a class.
const WORDS: usize = 15;

/// A page about the file of this name.
pub fn page(findings: &Findings, file: &str, language: Language) -> String {
    let title = language.say("댓글 감정 보고서", "Sentiment of the comments");
    let code = language.say("ko", "en");
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{code}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title}: {name}</title><style>{STYLE}</style></head><body>\n\
         <header><h1>{title}</h1><p class=\"soft\">{name}</p></header><main>\n",
        name = escaped(file)
    );
    let sections = [
        overview(findings, language),
        over_time(findings, language),
        by_video(findings, language),
        comments(findings, language),
        words(findings, language),
        certainty(findings, language),
        method(findings, language),
    ];
    for section in sections.into_iter().filter(|section| !section.is_empty()) {
        _ = writeln!(out, "<section>{section}</section>");
    }
    out + "</main></body></html>\n"
}

fn key(class: usize, language: Language) -> String {
    format!("<span class=\"key c{class}\" aria-hidden=\"true\"></span>{}", language.class(class))
}

fn overview(findings: &Findings, language: Language) -> String {
    let total = findings.total();
    let mut out = charts::shares(&findings.answered, language, language.say("비율", "Shares"));
    out.push_str("<ul class=\"figures\">");
    for class in 0..3 {
        let (n, share) = (findings.answered[class], percent(findings.answered[class] as f64, total as f64));
        _ = write!(
            out,
            "<li>{}<b>{share}</b><span class=\"soft\">{}</span></li>",
            key(class, language),
            count(n)
        );
    }
    let unanswered = findings.rows.saturating_sub(total);
    let withheld: u64 = findings.abstained.iter().sum();
    out.push_str("</ul><p>");
    out += &match language {
        Language::Ko => format!(
            "댓글 {}개 가운데 {}개를 분류했습니다. 답이 없는 행은 {}개, 모델이 판단을 유보한 댓글은 {}개입니다.",
            count(findings.rows),
            count(total),
            count(unanswered),
            count(withheld)
        ),
        Language::En => format!(
            "{} of {} rows are answered; {} have no answer. The model withholds {} answers.",
            count(total),
            count(findings.rows),
            count(unanswered),
            count(withheld)
        ),
    };
    out + "</p>"
}

fn over_time(findings: &Findings, language: Language) -> String {
    let Some((step, spans)) = time::spans(&findings.days) else { return String::new() };
    let heading = match step {
        Step::Day => language.say("날짜별 흐름", "By day"),
        Step::Week => language.say("주별 흐름", "By week"),
        Step::Month => language.say("월별 흐름", "By month"),
    };
    let sums = spans.iter().map(|(_, counts)| counts.iter().sum::<u64>());
    let (dated, highest) = (count(sums.clone().sum()), count(sums.max().unwrap_or(0)));
    let column = escaped(findings.date_column.as_deref().unwrap_or_default());
    let note = match language {
        Language::Ko => {
            format!("‘{column}’ 열에 날짜가 있는 댓글 {dated}개입니다. 가장 높은 막대는 {highest}개입니다.")
        }
        Language::En => format!(
            "{dated} comments with a date in the column “{column}”. The highest column stands for {highest}."
        ),
    };
    let keys: Vec<String> = (0..3).map(|class| key(class, language)).collect();
    format!(
        "<h2>{heading}</h2><p class=\"soft\">{note}</p><p>{}</p>{}{}",
        keys.join(" &nbsp; "),
        charts::columns(&spans, heading),
        details(language, &counts_table(language.say("기간", "Span"), &spans, language))
    )
}

/// The numbers behind a chart.
fn details(language: Language, table: &str) -> String {
    format!("<details><summary>{}</summary>{table}</details>", language.say("표로 보기", "As a table"))
}

fn counts_table(first: &str, rows: &[(String, [u64; 3])], language: Language) -> String {
    let mut out =
        format!("<div class=\"wide\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">{first}</th>");
    for class in 0..3 {
        _ = write!(out, "<th scope=\"col\" class=\"n\">{}</th>", language.class(class));
    }
    out.push_str("</tr></thead><tbody>");
    for (name, counts) in rows {
        _ = write!(out, "<tr><th scope=\"row\">{}</th>", escaped(name));
        counts.iter().for_each(|n| _ = write!(out, "<td class=\"n\">{}</td>", count(*n)));
        out.push_str("</tr>");
    }
    out + "</tbody></table></div>"
}

fn by_video(findings: &Findings, language: Language) -> String {
    let mut videos: Vec<(&String, &[u64; 3])> = findings.videos.iter().collect();
    if videos.is_empty() {
        return String::new();
    }
    videos.sort_by_key(|(title, counts)| (std::cmp::Reverse(counts.iter().sum::<u64>()), *title));
    let all = videos.len();
    videos.truncate(VIDEOS);
    let mut out = format!(
        "<h2>{}</h2><div class=\"wide\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">{}</th><th scope=\"col\" class=\"n\">{}</th><th scope=\"col\">{}</th></tr></thead><tbody>",
        language.say("영상별", "By video"),
        language.say("영상", "Video"),
        language.say("댓글", "Comments"),
        language.say("긍정 · 중립 · 부정", "Positive · neutral · negative")
    );
    for (title, counts) in &videos {
        let total: u64 = counts.iter().sum();
        let share = |class: usize| format!("{:.0}", 100.0 * counts[class] as f64 / total.max(1) as f64);
        _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td>{}<span class=\"soft\">{} · {} · {} %</span></td></tr>",
            escaped(title),
            count(total),
            charts::shares(counts, language, title),
            share(0),
            share(1),
            share(2)
        );
    }
    out.push_str("</tbody></table></div>");
    if all > VIDEOS {
        _ = write!(
            out,
            "<p class=\"soft\">{} {VIDEOS} / {}</p>",
            language.say("댓글이 많은 순", "Most comments first:"),
            count(all as u64)
        );
    }
    out
}

fn list<'a>(samples: impl Iterator<Item = &'a Sample>, language: Language) -> String {
    let mut out = String::from("<ol class=\"comments\">");
    for sample in samples {
        let [positive, neutral, negative] = sample.probabilities.map(|p| format!("{:.0}", 100.0 * p));
        let spoken =
            (0..3).map(|c| format!("{} {:.0} %", language.class(c), 100.0 * sample.probabilities[c]));
        _ = write!(
            out,
            "<li>{} <span class=\"soft\" title=\"{}\">{positive} · {neutral} · {negative} %</span></li>",
            escaped(&sample.text),
            spoken.collect::<Vec<_>>().join(", ")
        );
    }
    out + "</ol>"
}

fn comments(findings: &Findings, language: Language) -> String {
    let mut out = format!(
        "<h2>{}</h2><p class=\"soft\">{}</p><div class=\"three\">",
        language.say("모델이 가장 확신한 댓글", "Comments the model is surest of"),
        language.say(
            "숫자는 긍정 · 중립 · 부정 확률입니다.",
            "Figures: probability of positive · neutral · negative."
        )
    );
    for class in 0..3 {
        let samples = list(findings.certain[class].samples(), language);
        _ = write!(out, "<div><h3>{}</h3>{samples}</div>", key(class, language));
    }
    out.push_str("</div>");
    _ = write!(
        out,
        "<h2>{}</h2><p class=\"soft\">{}</p>{}",
        language.say("의견이 갈리는 댓글", "Most divided comments"),
        language.say(
            "두 감정의 확률이 거의 같습니다. 사람이 읽어 볼 만합니다.",
            "Two sentiments are almost equally probable; worth reading."
        ),
        list(findings.divided.samples(), language)
    );
    out
}

fn words(findings: &Findings, language: Language) -> String {
    let all: Vec<Vec<Telling>> = (0..3).map(|class| findings.words.telling(class, WORDS)).collect();
    if all.iter().all(Vec::is_empty) {
        return String::new();
    }
    let note = language.say(
        "띄어쓰기로 나눈 낱말이며 조사를 떼지 않았습니다. 한 댓글에서 한 번만 셉니다. 순서는 디리클레 사전분포를 둔 로그 오즈(Monroe 외 2008)의 z값이고, 댓글 3개 이상에 나오며 z가 1.96 이상인 낱말만 보입니다. 숫자는 그 감정의 댓글 수 / 전체 댓글 수입니다.",
        "Words between spaces, with their particles, each counted once per comment. They are ordered by the z-score of their log-odds with an informative Dirichlet prior (Monroe et al. 2008); shown are those in at least 3 comments with z of 1.96 or more. Figures: comments of that sentiment / all comments with the word.",
    );
    let heading = language.say("감정을 가르는 낱말", "Words that tell the sentiments apart");
    let mut out = format!("<h2>{heading}</h2><p class=\"soft\">{note}</p><div class=\"three\">");
    for (class, words) in all.iter().enumerate() {
        _ = write!(out, "<div><h3>{}</h3><table><tbody>", key(class, language));
        for Telling { word, counts, z } in words {
            let of: u64 = counts.iter().sum();
            _ = write!(
                out,
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{} / {}</td><td class=\"n soft\">z {z:.1}</td></tr>",
                escaped(word),
                count(counts[class]),
                count(of)
            );
        }
        out.push_str("</tbody></table></div>");
    }
    out + "</div>"
}

fn certainty(findings: &Findings, language: Language) -> String {
    let total = findings.total();
    let (mean, withheld) = (percent(findings.sure, total as f64), &findings.abstained);
    let text = match language {
        Language::Ko => format!(
            "가장 높은 확률의 평균은 {mean}입니다. 확률이 잘 보정되어 있다면 답의 약 {mean}가 맞습니다. 판단을 유보한 답: {}.",
            charts_counts(withheld, language)
        ),
        Language::En => format!(
            "The highest probability is {mean} on average: if the probabilities are well calibrated, about {mean} of the answers are right. Answers withheld: {}.",
            charts_counts(withheld, language)
        ),
    };
    let heading = language.say("모델의 확신", "How sure the model is");
    let name = language.say("가장 높은 확률의 분포", "Answers by their highest probability");
    format!("<h2>{heading}</h2><p>{text}</p>{}", charts::histogram(&findings.bars, ["33 %", "100 %"], name))
}

fn charts_counts(counts: &[u64; 3], language: Language) -> String {
    let parts = (0..3).map(|class| format!("{} {}", language.class(class), count(counts[class])));
    parts.collect::<Vec<_>>().join(", ")
}

fn method(findings: &Findings, language: Language) -> String {
    let dropped = if findings.words.dropped {
        language.say(
            " 낱말이 많아 드문 것은 세지 않았습니다.",
            " There were many words; rare ones were not counted.",
        )
    } else {
        ""
    };
    format!(
        "<h2>{}</h2><p>{}{dropped}</p>",
        language.say("읽을 때 주의할 점", "How to read this"),
        language.say(
            "모든 값은 모델이 매긴 것이며, 이 댓글들에 사람이 붙인 정답과 비교하지 않았습니다. 정확도는 레이블이 있는 댓글로 <code>ko-sentiment eval</code>을 실행해 확인해 주세요. 댓글을 쓴 사람이 시청자 전체를 대표하지는 않습니다.",
            "All figures are the model's; they were not compared with labels by people for these comments. Measure accuracy with <code>ko-sentiment eval</code> on labelled ones. People who comment do not stand for all viewers."
        )
    )
}
