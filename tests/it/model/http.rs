//! A whole replica, by way of its sockets.

use super::{Model, Place, Welcome, patience, patterns, some_id};
use crate::forms::{Form, Told, Visit};
use crate::replica::Replica;
use crate::seed;
use fastrand::Rng;
use reqwest::Client;
use serde_json::Value;
use tidings::event::Position;

const STEPS: usize = 300;
const READERS: usize = 8;

struct World {
    rng: Rng,
    model: Model,
    replica: Replica,
    client: Client,
    readers: Vec<Subject>,
}

struct Subject {
    visit: Visit,
    url: String,
    place: Place,
}

impl World {
    async fn new(mut rng: Rng, client: Client, arguments: &[&str]) -> Self {
        let kept: usize = [1, 5, 30, 1000][rng.usize(..4)];
        let window: usize = [1, 5, 30, 1000][rng.usize(..4)];
        let (kept_text, window) = (kept.to_string(), window.to_string());
        let limits = ["--memory-events", &kept_text, "--window-events", &window];
        Self {
            rng,
            model: Model::new(kept),
            replica: Replica::start(&[&limits[..], arguments].concat()).await,
            client,
            readers: Vec::new(),
        }
    }

    async fn step(&mut self) {
        match self.rng.u8(..10) {
            0..4 => self.append().await,
            4..6 => self.join().await,
            6..9 => self.listen().await,
            _ => self.come_back().await,
        }
    }

    /// Publishes, and waits until the replica has followed it.
    async fn append(&mut self) {
        let hub = self.replica.hub();
        for _ in 0..=self.rng.usize(..10) {
            self.model.append(hub.log(), &mut self.rng).await;
        }
        let last = hub
            .position_of(self.model.last(), crate::replica::DEADLINE)
            .await;
        assert!(last.unwrap().is_some());
    }

    async fn join(&mut self) {
        if self.readers.len() == READERS {
            let index = self.rng.usize(..READERS);
            self.readers.swap_remove(index);
        }
        let patterns = patterns(&mut self.rng);
        let (id, start) = match self.rng.u8(..5) {
            0 => (None, "after=now".to_owned()),
            1 => (None, "after=start".to_owned()),
            2 => (None, format!("last={}", self.rng.u8(..12))),
            _ => (Some(some_id(&self.model, &mut self.rng)), String::new()),
        };
        let place = Place {
            patterns,
            at: 0,
            id: id.unwrap_or_default(),
        };
        self.open(place, &start).await;
    }

    /// Opens a stream for a reader that comes with its id, or with none and begins where `start` says; or has it
    /// poll, from its id on.
    async fn open(&mut self, mut place: Place, start: &str) {
        let feeds = place
            .patterns
            .iter()
            .map(|one| format!("feed={}&", one.as_str().replace('>', "%3E")));
        let url = self
            .replica
            .url(&format!("/feeds?{}{start}", feeds.collect::<String>()));
        let mut welcome = Welcome::Welcome;
        let mut form = Form::ALL[self.rng.usize(..Form::ALL.len())];
        if place.id.is_empty() {
            form = if form == Form::Poll { Form::Sse } else { form }; // a page does not say where it began
        } else {
            let floor = self.replica.hub().usage().floor.sequence();
            welcome = self.model.welcome(&place.id, floor);
        }
        let mut visit = Visit::begin(&self.client, &url, form, &place.id, &mut self.rng).await;
        if form != Form::Poll {
            let first = visit.next().await.expect("a first line or block");
            assert_eq!(first.kind, "hub:position");
            if place.id.parse::<Position>().is_ok() {
                assert_eq!(first.id, place.id);
            }
            place.id = first.id;
        }
        if let Ok(opening) = place.id.parse::<Position>() {
            place.at = opening.sequence();
        }
        if welcome == Welcome::Reset {
            let reset = visit.event().await;
            assert_eq!(reset.kind, "hub:reset");
            self.model.hear_reset(&mut place, reset.id.parse().unwrap());
        }
        self.readers.push(Subject { visit, url, place });
    }

    async fn listen(&mut self) {
        let mut patience = patience(&mut self.rng);
        let Some(subject) = self.rng.choice(&mut self.readers) else {
            return;
        };
        while self.model.is_pending(&subject.place) && patience > 0 {
            patience -= 1;
            let told = subject.told(&self.client, &mut self.rng).await;
            hear(&self.model, &mut subject.place, &told);
        }
    }

    async fn come_back(&mut self) {
        if !self.readers.is_empty() {
            let index = self.rng.usize(..self.readers.len());
            let place = self.readers.swap_remove(index).place;
            self.open(place, "after=start").await;
        }
    }

    /// All readers hear all that there is for them, and then that the server ends.
    async fn end(self) {
        let Self {
            mut rng,
            model,
            replica,
            client,
            mut readers,
        } = self;
        for subject in &mut readers {
            while model.is_pending(&subject.place) {
                let told = subject.told(&client, &mut rng).await;
                hear(&model, &mut subject.place, &told);
            }
        }
        replica.stop().await;
        readers.retain(|subject| subject.visit.form != Form::Poll);
        for Subject { visit, place, .. } in &mut readers {
            let mut last = visit.event().await;
            while last.kind == "hub:gap" {
                hear(&model, place, &last); // in which there was nothing for it
                last = visit.event().await;
            }
            assert_eq!(last.kind, "hub:closing");
        }
    }
}

impl Subject {
    /// The next that it is told: in the next page, where it is at the end of one.
    async fn told(&mut self, client: &Client, rng: &mut Rng) -> Told {
        loop {
            if let Some(told) = self.visit.next().await {
                return told;
            }
            assert_eq!(self.visit.form, Form::Poll);
            self.visit = Visit::begin(client, &self.url, Form::Poll, &self.place.id, rng).await;
        }
    }
}

fn hear(model: &Model, place: &mut Place, told: &Told) {
    let id = || told.id.parse().unwrap();
    match told.kind.as_str() {
        "message" => model.hear_event(place, &told.id, told.feed.as_deref(), &told.data),
        "hub:gap" => {
            let gap: Value = serde_json::from_str(&told.data).unwrap();
            assert_eq!(gap["reason"], "expired");
            let position = |name| gap[name].as_str().unwrap().parse().unwrap();
            model.hear_gap(place, id(), position("after"), position("before"));
        }
        "hub:position" => {
            let through = id().sequence();
            let skipped = model.between(&place.patterns, place.at, through).next();
            assert_eq!(skipped.map(|event| event.position), None, "{place:?}");
            model.hear_position(place, id());
        }
        kind => panic!("{kind}: {told:?}"),
    }
}

async fn every_reader_is_told_exactly_what_the_model_says(client: Client, arguments: &[&str]) {
    let mut rng = seed::rng();
    for _ in 0..4 {
        let mut world = World::new(rng.fork(), client.clone(), arguments).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_shards() {
    let client = crate::forms::client();
    every_reader_is_told_exactly_what_the_model_says(client, &["--shards", "2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_http_library() {
    let client = crate::forms::client();
    every_reader_is_told_exactly_what_the_model_says(client, &["--shards", "0"]).await;
}

/// All readers are streams of one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2() {
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    every_reader_is_told_exactly_what_the_model_says(client, &[]).await;
}
