//! A reader that polls, and waits for some of its pages.

use super::{CONNECT, Left, Reader, checked, linger};
use crate::verify::connection::Connection;
use crate::verify::form::{Form, Reading, Told};
use crate::verify::shared::Phase;
use anyhow::{Context, bail};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// The most events of a page; each asks for another number.
const LIMIT: u64 = 1000;
/// The longest that one waits for a page, in seconds.
const WAIT: u64 = 2;
/// The longest pause after an empty page that was not waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// What a poll has come to.
struct Page {
    told: Vec<Told>,
    /// The tag of a page without events: there may be nothing new.
    tag: Option<HeaderValue>,
}

impl Reader {
    /// Polls until that breaks, or the reader has had enough.
    pub(super) async fn poll(
        &mut self,
        mut enough: Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Left> {
        let shared = self.shared.clone();
        let Ok(connection) = timeout(CONNECT, self.connect()).await else {
            bail!("no connection within {CONNECT:?}");
        };
        let mut connection = connection?;
        let (mut tag, mut pause, mut pages) = (None, Duration::ZERO, 0);
        loop {
            let is_settling = shared.has_reached(Phase::Settling);
            let wait = self.random.u64(..=WAIT);
            let next = async {
                linger(&shared, pause).await;
                self.page(&mut connection, wait, tag.take()).await
            };
            let page = tokio::select! {
                () = &mut enough, if !is_settling => return Ok(Left::Cut),
                page = timeout(CONNECT, next) => page.unwrap_or_else(|_| bail!("no page within {CONNECT:?}")),
            };
            let page = match page {
                Ok(page) => page,
                // A server that ends closes it between two pages.
                Err(_) if pages > 0 => return Ok(Left::Ended),
                Err(error) => return Err(error),
            };
            if pages == 0 {
                self.has_come_in();
            }
            pages += 1;
            self.hear(&page.told);
            tag = page.tag;
            pause = match tag.is_some() {
                true => PAUSE.mul_f64(self.random.f64()),
                false => self.pause_if_slow(),
            };
        }
    }

    async fn page(
        &mut self,
        connection: &mut Connection,
        wait: u64,
        tag: Option<HeaderValue>,
    ) -> anyhow::Result<Page> {
        let mut url = self.url(Form::Poll)?;
        let limit = self.random.u64(1..=LIMIT);
        url.query_pairs_mut()
            .append_pair("limit", &limit.to_string())
            .append_pair("wait", &wait.to_string());
        let mut headers = self.headers(Form::Poll);
        if let Some(tag) = tag.filter(|_| wait == 0) {
            headers.insert(header::IF_NONE_MATCH, tag);
        }
        let had_tag = headers.get(header::IF_NONE_MATCH).cloned();
        let response = connection.ask(&url, headers).await?;
        let mut told = Vec::new();
        if let Some(tag) = had_tag.filter(|_| response.status() == StatusCode::NOT_MODIFIED) {
            let next = response.headers().get("tidings-next");
            let next = next.context("304 does not say from where to go on")?;
            told.push(Told::position(next.to_str()?.to_owned()));
            let tag = Some(tag);
            return Ok(Page { told, tag });
        }
        let response = checked(response, Form::Poll).await?;
        let tag = response.headers().get(header::ETAG).cloned();
        let mut reading = Reading::new(Form::Poll);
        let body = response.into_body().collect().await?.to_bytes();
        reading.read(&body, &mut told)?;
        reading.end(&mut told)?;
        let is_empty = told.len() == 1;
        let tag = tag.filter(|_| is_empty);
        Ok(Page { told, tag })
    }
}
