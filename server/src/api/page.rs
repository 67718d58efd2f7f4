//! Pages of lists.

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{IntoParams, ToSchema};

/// Most items of a page.
pub const MAX_LIMIT: usize = 100;

/// What a request for a page may say.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Items of the page.
    #[serde(default = "default_limit", deserialize_with = "limit")]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 20)]
    pub limit: usize,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Items of a page that does not say how many.
pub fn default_limit() -> usize {
    20
}

/// 1 to 100; anything else is refused.
pub fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let limit = usize::deserialize(deserializer)
        .map_err(|_| de::Error::custom("limit must be a number from 1 to 100"))?;
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(de::Error::custom("limit must be from 1 to 100"))
    }
}

/// A page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// Brings the next page; `null` at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// A page from one item more than it holds, if there are as many: the cursor is made from the last item kept.
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> String) -> Self {
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if has_more { items.last().map(cursor) } else { None };
        Self { data: items, next_cursor, has_more }
    }

    /// The same page of other items.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        let Self { data, next_cursor, has_more } = self;
        Page { data: data.into_iter().map(f).collect(), next_cursor, has_more }
    }
}
