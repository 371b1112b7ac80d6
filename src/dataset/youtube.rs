//! Comments as yt-dlp and YouTube's Data API write them.
//!
//! - yt-dlp's `.info.json`: a video with `comments`; each gets the video's title.
//! - Data API: pages of `commentThreads` and `comments`, and single resources. Of a comment's two texts,
//!   `textOriginal` is taken; `textDisplay` is HTML and is decoded as such where it is all there is.

use serde_json::{Map, Value as Json};

use super::record::Value;

/// A comment's columns in their order, or why there are none.
pub type Entries = Result<Vec<(String, Value)>, String>;

/// The comments of an object, if it is one of YouTube's: `text` is all of it, `entries` its top level.
pub fn comments(text: &str, entries: &[(String, Value)]) -> Option<Vec<Entries>> {
    let get = |name: &str| entries.iter().find(|(n, _)| n == name).map(|(_, value)| value);
    let is_text = |name: &str| matches!(get(name), Some(Value::Text(_)));
    let kind = match get("kind") {
        Some(Value::Text(kind)) => kind.as_str(),
        _ => "",
    };
    let of_api = kind.starts_with("youtube#comment");
    let nested = |name: &str| matches!(get(name), Some(Value::Json(_)));
    let of_dlp = nested("comments") && is_text("title");
    if !of_api && !of_dlp {
        if is_text("extractor") && is_text("webpage_url") {
            let reason = "a video without comments; download it again with yt-dlp --write-comments";
            return Some(vec![Err(reason.into())]);
        }
        // Pages that were asked for with fewer fields lack the kind.
        if !nested("items") && !nested("snippet") {
            return None;
        }
    }
    let object: Map<String, Json> = serde_json::from_str(text).ok()?;
    if of_dlp {
        return Some(of_video(&object));
    }
    let found: Vec<Entries> = match object.get("items") {
        Some(Json::Array(items)) => items.iter().flat_map(of_resource).collect(),
        _ => of_resource(&Json::Object(object.clone())),
    };
    (of_api || found.iter().any(Result::is_ok)).then_some(found)
}

/// The comments of a video as yt-dlp writes it.
fn of_video(video: &Map<String, Json>) -> Vec<Entries> {
    let of_comment = |comment: &Json| {
        let Json::Object(fields) = comment else {
            return Err("the comment is not an object; download the comments again".to_owned());
        };
        let mut entries: Vec<(String, Value)> =
            fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
        for (name, source) in [("video_id", "id"), ("video_title", "title")] {
            if !fields.contains_key(name) {
                entries.push((name.into(), video.get(source).map_or(Value::Null, plain)));
            }
        }
        Ok(entries)
    };
    video.get("comments").and_then(Json::as_array).into_iter().flatten().map(of_comment).collect()
}

/// The comments of a `commentThread`, which has one and its replies, or of a `comment`.
fn of_resource(resource: &Json) -> Vec<Entries> {
    let snippet = &resource["snippet"];
    let top = &snippet["topLevelComment"];
    if top.is_null() {
        return vec![of_comment(resource)];
    }
    let replies = resource["replies"]["comments"].as_array().into_iter().flatten();
    std::iter::once(top).chain(replies).map(of_comment).collect()
}

fn of_comment(comment: &Json) -> Entries {
    let snippet = &comment["snippet"];
    let text = ["textOriginal", "textDisplay"].into_iter().find(|name| snippet[*name].is_string());
    let text = text.ok_or("the comment has neither textOriginal nor textDisplay; ask for part=snippet")?;
    let mut entries = vec![("id".to_owned(), plain(&comment["id"]))];
    for name in ["videoId", "parentId", "authorDisplayName", "publishedAt", "likeCount", text] {
        entries.push((name.to_owned(), plain(&snippet[name])));
    }
    Ok(entries)
}

fn plain(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        other => Value::Json(other.to_string()),
    }
}
