//! A queue that is there and can't be used.

use crate::Services;

/// A quorum queue without a leader. It has one again when this ends, also when the test fails.
pub struct StuckQueue<'a> {
    services: &'a Services,
    queue: String,
    again: &'static str,
}

impl<'a> StuckQueue<'a> {
    fn new(services: &'a Services, queue: &str, now: &str, again: &'static str) -> Self {
        let stuck = Self { services, queue: queue.to_owned(), again };
        stuck.has_member(now);
        stuck
    }
}

impl StuckQueue<'_> {
    /// Has the only member of `queue` stand still: it takes what it is sent, and answers nothing.
    ///
    /// # Panics
    /// If there is no such queue.
    pub fn silent<'a>(services: &'a Services, queue: &str) -> StuckQueue<'a> {
        StuckQueue::new(
            services,
            queue,
            "{Name, _} = Member, sys:suspend(Name)",
            "{Name, _} = Member, sys:resume(Name)",
        )
    }

    /// Stops the only member of `queue`: the broker says that it is an error.
    ///
    /// # Panics
    /// If there is no such queue.
    pub fn down<'a>(services: &'a Services, queue: &str) -> StuckQueue<'a> {
        StuckQueue::new(
            services,
            queue,
            "ra:stop_server(quorum_queues, Member)",
            "ra:restart_server(quorum_queues, Member)",
        )
    }

    fn has_member(&self, expression: &str) {
        let queue = &self.queue;
        let lookup =
            format!("rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>))");
        let member = format!("{{ok, Queue}} = {lookup}, Member = amqqueue:get_pid(Queue)");
        self.services.rabbitmqctl(&["eval", &format!("{member}, {expression}.")]);
    }
}

impl Drop for StuckQueue<'_> {
    fn drop(&mut self) {
        self.has_member(self.again);
    }
}
