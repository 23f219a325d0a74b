//! What a route offers beside the messages of its WebSockets: to be heard and told something by plain
//! HTTP, and its last message to newcomers.

use std::io;

use super::Server;

impl Server {
    /// Lets clients of plain HTTP hear a route, named as it was added: a GET with `Accept:
    /// text/event-stream` is answered with all text messages that are sent to everyone on the route, as
    /// Server-Sent Events (WHATWG HTML) until either side ends. So do `EventSource` in a page and
    /// `curl -N`. Other requests are served as before.
    ///
    /// Whoever listens is let in as a WebSocket is, by [`Config::origins`](crate::Config::origins) and
    /// by [`on_request`](crate::Handler::on_request), and counts as one for all limits. He is among the
    /// [`members`](crate::Context::members) of the route, but no other callback is called for him; he
    /// is sent no binary messages. A message of several lines, ended by LF, CR or CR LF, comes with LF
    /// between them. After each [`Config::ping_interval`](crate::Config::ping_interval) a comment is
    /// sent, so that one who has vanished is found; nobody who listens is cut for his silence.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such route.
    pub fn events(&mut self, path: &str) -> io::Result<()> {
        let route = self.named_route(path)?;
        self.dispatcher.routes.offer(route, |offers| offers.events = true);
        Ok(())
    }

    /// Lets clients of plain HTTP say something on a route, named as it was added: the body of a POST
    /// is a message, which is handed to [`on_publish`](crate::Handler::on_publish), and so by default
    /// sent to everyone on the route. It is a text; a body of the type `application/octet-stream` is
    /// binary. `curl -d` does it.
    ///
    /// Whoever posts is let in as a WebSocket is, by [`Config::origins`](crate::Config::origins) and by
    /// [`on_request`](crate::Handler::on_request), which is asked before the body is read.
    /// [`Config::max_message`](crate::Config::max_message) and
    /// [`Config::message_timeout`](crate::Config::message_timeout) hold for the body. The answer is 204;
    /// 400 for a text that is not UTF-8, 405 for other methods but GET and HEAD, 408 for a body that is
    /// not whole in time, 411 without a `Content-Length`, and 413 for one over the limit.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such route.
    pub fn publish(&mut self, path: &str) -> io::Result<()> {
        let route = self.named_route(path)?;
        self.dispatcher.routes.offer(route, |offers| offers.posts = true);
        Ok(())
    }

    /// Sends whoever comes to a route, named as it was added, the last message that was broadcast there,
    /// before anything else: a page shows a reading at once, and not only when the next one comes. It is
    /// kept in memory from now on, and counts for [`Config::max_memory`](crate::Config::max_memory); one
    /// that is over [`Config::max_message`](crate::Config::max_message) is not kept, nor is then the one
    /// before it.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such route.
    pub fn keep_last(&mut self, path: &str) -> io::Result<()> {
        let route = self.named_route(path)?;
        self.dispatcher.peers.keep_last(route);
        Ok(())
    }
}
