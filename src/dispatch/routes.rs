//! Which handler serves which path.

use log::error;

use crate::handler::Handler;
use crate::http::path;
use crate::ids::RouteId;

struct Route {
    path: String,
    handler: Box<dyn Handler>,
    offers: Offers,
}

/// What a route offers to plain HTTP.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offers {
    /// To hear its messages as Server-Sent Events.
    pub(crate) events: bool,
    /// To say one by POST.
    pub(crate) posts: bool,
}

/// The routes, in the order they were added. There are few, so a search looks at each.
#[derive(Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// The name of the route for every path that no other route names.
    const REST: &str = "*";
    /// Most routes: how many there are is a [`RouteId`] as well.
    const MOST: usize = RouteId::MAX as usize;

    /// Adds a route, or gives an existing one a new handler. True if it was added; there may be too
    /// many.
    pub(super) fn add(&mut self, path: &str, handler: Box<dyn Handler>) -> bool {
        let is_full = self.routes.len() >= Routes::MOST;
        match self.routes.iter_mut().find(|route| route.path == path) {
            Some(route) => {
                route.handler = handler;
                route.offers = Offers::default();
                false
            }
            None if is_full => {
                error!("no route for {path}: there are {} already", Routes::MOST);
                false
            }
            None => {
                let offers = Offers::default();
                self.routes.push(Route { path: path.to_string(), handler, offers });
                true
            }
        }
    }

    /// The route for a request's path: as it was sent, or else decoded.
    pub(super) fn find(&self, path: &str) -> Option<RouteId> {
        let decoded = || if path.contains('%') { path::decode(path) } else { None };
        self.named(path).or_else(|| self.named(&decoded()?)).or_else(|| self.named(Routes::REST))
    }

    /// The route that was added under this name.
    pub(crate) fn named(&self, path: &str) -> Option<RouteId> {
        let place = self.routes.iter().position(|route| route.path == path)?;
        RouteId::try_from(place).ok()
    }

    pub(crate) fn path(&self, route: RouteId) -> &str {
        self.routes.get(usize::from(route)).map_or("", |route| &route.path)
    }

    pub(super) fn handler(&mut self, route: RouteId) -> Option<&mut (dyn Handler + 'static)> {
        Some(self.routes.get_mut(usize::from(route))?.handler.as_mut())
    }

    pub(super) fn offers(&self, route: RouteId) -> Offers {
        self.routes.get(usize::from(route)).map(|route| route.offers).unwrap_or_default()
    }

    /// Changes what a route offers.
    pub(crate) fn offer(&mut self, route: RouteId, change: impl FnOnce(&mut Offers)) {
        if let Some(route) = self.routes.get_mut(usize::from(route)) {
            change(&mut route.offers);
        }
    }

    pub(super) fn ids(&self) -> std::ops::Range<RouteId> {
        0..self.routes.len() as RouteId
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Message};

    #[test]
    fn paths_are_matched_whole_and_the_rest_last() {
        let nothing = || Box::new(|_: &mut Context<'_>, _: Message<'_>| {});
        let mut routes = Routes::default();
        assert!(routes.add("/", nothing()) && routes.add("/chat", nothing()));
        assert!(!routes.add("/chat", nothing()));
        assert_eq!(routes.find("/"), Some(0));
        assert_eq!(routes.find("/chat"), Some(1));
        assert_eq!(routes.find("/chat/"), None);
        assert!(routes.add("*", nothing()));
        assert_eq!(routes.find("/chat/"), Some(2));
        assert_eq!(routes.path(1), "/chat");
    }

    #[test]
    fn what_a_route_offers_ends_with_its_handler() {
        let nothing = || Box::new(|_: &mut Context<'_>, _: Message<'_>| {});
        let mut routes = Routes::default();
        assert!(routes.add("/", nothing()));
        routes.offer(0, |offers| offers.events = true);
        routes.offer(1, |offers| offers.events = true);
        assert!(routes.offers(0).events && !routes.offers(0).posts && !routes.offers(1).events);
        assert!(!routes.add("/", nothing()));
        assert!(!routes.offers(0).events);
    }

    #[test]
    fn a_route_too_many_takes_no_other_routes_place() {
        let nothing = || Box::new(|_: &mut Context<'_>, _: Message<'_>| {});
        let mut routes = Routes::default();
        assert!(routes.add("/first", nothing()));
        // Not by `add`, which looks at all the others each time.
        while routes.routes.len() < Routes::MOST {
            let offers = Offers::default();
            routes.routes.push(Route { path: String::new(), handler: nothing(), offers });
        }
        assert!(!routes.add("/one-too-many", nothing()));
        assert_eq!((routes.named("/one-too-many"), routes.named("/first")), (None, Some(0)));
        assert_eq!(routes.ids().len(), Routes::MOST);
        assert!(!routes.add("/first", nothing()), "it has a new handler");
    }
}
