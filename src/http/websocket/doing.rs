//! What a connection does for its client.

use super::answer;
use super::authority::Turn;
use super::connection::{Connection, Done};
use super::ended::Ended;
use super::message::{Ref, Request, Subscribe};
use crate::auth::Secret;
use crate::event::{Data, Message};
use crate::http::Service;
use crate::http::problem::Problem;
use crate::http::publish::take_publish;
use crate::hub::Due;
use crate::log::{Ask, Reply, RequestError};
use crate::metrics::{Counted, RequestFailure, Way};
use crate::publish::{BodyBudget, Share};
use crate::wire::Closing;
use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use http::StatusCode;

/// What a client asks for: each begins something, or says why not.
impl Connection {
    pub(super) fn subscribe(
        &mut self,
        name: &Ref,
        asked: Subscribe,
    ) -> Result<BoxFuture<'static, Done>, Problem> {
        self.authority.caller()?.subscribe(&asked.patterns)?;
        if self.subscriptions.has(name) {
            let detail = format!("there is a subscription {name} already: unsubscribe it first");
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        let max = self.service.websockets.max_subscriptions;
        if self.subscriptions.len() >= max {
            let refused = &self.service.websocket_counters.subscriptions_refused;
            refused.inc();
            let detail = format!(
                "there are {max} subscriptions on this connection, as many as there may be (--max-subscriptions); one subscription may have several patterns"
            );
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        let (handle, registration) = AbortHandle::new_pair();
        let patterns = asked.patterns.clone();
        self.subscriptions.name(name.clone(), patterns, handle);
        let (name, hub) = (name.clone(), self.service.hub.clone());
        let joined = async move {
            let joined = hub.join(asked.patterns.clone(), asked.start).await;
            Done::Joined(name, asked, joined)
        };
        let joined = Abortable::new(joined, registration);
        Ok(joined.map(|joined| joined.unwrap_or(Done::Nothing)).boxed())
    }

    /// Takes a token, and ends the subscriptions that it does not cover.
    pub(super) async fn authenticate(
        &mut self,
        reference: &Ref,
        token: Option<&Secret>,
    ) -> Result<(), Ended> {
        let renewed = self.authority.renew(&self.service, token).await;
        let caller = match renewed.and_then(|()| self.authority.caller()) {
            Ok(caller) => caller,
            Err(problem) => return self.refuse(Some(reference), &problem).await,
        };
        for name in self.subscriptions.denied(caller) {
            match self.subscriptions.end(&name) {
                Some(true) => self.socket.text(answer::forbidden(&name)).await?,
                _ => {
                    let detail = "the new token does not cover it";
                    let problem = Problem::new(StatusCode::FORBIDDEN, detail);
                    self.refuse(Some(&name), &problem).await?;
                }
            }
        }
        let json = self.authority.json();
        self.answer(answer::result(reference, &json)).await
    }

    /// What comes due by itself of who is at the other end.
    pub(super) async fn take_turn(&mut self, turn: Turn) -> Result<(), Ended> {
        match turn {
            Turn::Token(Due::Soon(seconds)) => self.socket.text(answer::expiring(seconds)).await,
            Turn::Revoked => Err(Ended::Closing(Closing::Revoked)),
            Turn::Token(Due::Over) => Err(Ended::Expired),
            Turn::Silent => Err(Ended::policy("no token and no API key has come in time")),
        }
    }

    pub(super) async fn unsubscribe(&mut self, reference: &Ref, name: &Ref) -> Result<(), Ended> {
        match self.subscriptions.end(name) {
            Some(true) => {}
            Some(false) => {
                let detail = "it was unsubscribed before it had begun";
                let problem = Problem::new(StatusCode::CONFLICT, detail);
                self.refuse(Some(name), &problem).await?;
            }
            None => {
                let detail = format!("there is no subscription {name} on this connection");
                let problem = Problem::new(StatusCode::NOT_FOUND, detail);
                return self.refuse(Some(reference), &problem).await;
            }
        }
        self.answer(answer::result(reference, "{}")).await
    }

    pub(super) fn publish(
        &mut self,
        reference: &Ref,
        mut message: Message,
        idempotency_key: Option<String>,
    ) -> Result<BoxFuture<'static, Done>, Problem> {
        let caller = self.authority.caller()?.clone();
        caller.publish(&message.feed)?;
        take_publish(&self.service, self.authority.account().as_ref())?;
        let bytes = match &message.data {
            Data::Bytes(data) => data.len(),
            Data::Oversize { .. } => 0,
        };
        let share = self.share_of(&self.service.bodies, bytes)?;
        message.connection = Some((*self.id).into());
        message.trace = message.trace.or_else(|| self.trace.clone());
        let publisher = self.service.publisher.clone();
        let reference = reference.clone();
        let published = async move {
            let published = publisher
                .publish(Way::WebSocket, &caller, message, idempotency_key)
                .await;
            drop(share);
            let answer = match published {
                Ok(published) => answer::published(&reference, &published),
                Err(failed) => answer::error(Some(&reference), &failed.into()),
            };
            Done::Answer(answer, None)
        };
        Ok(published.boxed())
    }

    pub(super) fn request(
        &mut self,
        reference: &Ref,
        request: Request,
    ) -> Result<BoxFuture<'static, Done>, Problem> {
        let caller = self.authority.caller()?;
        caller.request(&request.name)?;
        let sender = caller.subject().map(Box::from);
        let mut share = self.share_of(&self.service.messages, request.data.len())?;
        let place = self.service.requests.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            let detail =
                "as many requests are under way as may be (--max-publishes); come back later";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        let ask = Ask {
            name: request.name,
            connection: (*self.id).into(),
            sender,
            content_type: request.content_type,
            trace: request.trace.or_else(|| self.trace.clone()),
            data: request.data,
            timeout: request.timeout,
        };
        let (service, reference) = (self.service.clone(), reference.clone());
        let asked = async move {
            let replied = asked(&service, ask).await;
            drop(place);
            let held = replied.as_ref().map_or(0, |reply| reply.data.len());
            let room = share.resize(held).map_err(Problem::from);
            let answer = match replied.and_then(|reply| room.map(|()| reply)) {
                Ok(reply) => answer::replied(&reference, reply, request.binary),
                Err(problem) => answer::error(Some(&reference), &problem),
            };
            Done::Answer(answer, Some(share))
        };
        Ok(asked.boxed())
    }

    /// A part of a budget.
    fn share_of(&self, budget: &BodyBudget, bytes: usize) -> Result<Share, Problem> {
        let mut share = budget.share(self.authority.account());
        share.resize(bytes)?;
        Ok(share)
    }
}

/// Asks a backend, and counts that.
async fn asked(service: &Service, ask: Ask) -> Result<Reply, Problem> {
    let counters = &service.websocket_counters;
    let _under_way = Counted::new(&counters.requests);
    let replied = service.hub.log().request(ask).await;
    replied.map_err(|error: RequestError| {
        let problem = Problem::from(error);
        let status = problem.status.as_u16();
        counters
            .requests_failed
            .get_or_create(&RequestFailure { status })
            .inc();
        problem
    })
}
