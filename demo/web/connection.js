// What the demo pages share: a WebSocket that comes back by itself, and a log to write into.
//
//   var connection = new Connection("/echo", {
//     onopen: function () { },                // each time it opens, so also after a reconnect
//     onmessage: function (data) { },         // a string, or a Blob if the message was binary
//     onstate: function (state, words) { },   // "connecting", "open", "waiting" or "closed"
//     done: [1000]                            // the codes after which it stays closed; these by default
//   });
//   connection.send("text");                  // false if it could not be sent
//   connection.close();                       // for good, until connection.connect()
//
// The state also shows, in words, in the page's element with the id "state", or in that with the id
// `handlers.stateId`. In place of a path there may be a whole address, "ws://…".
//
// The first browsers with WebSocket are from 2010, and these pages are for them too: hence `var`.

function Connection(path, handlers) {
  this.url = /^wss?:/.test(path) ? path : Connection.address(path);
  this.handlers = handlers;
  this.failures = 0;
  this.connect();
}

// The page and its WebSockets come from the same host and port, unless the page is a file.
Connection.address = function (path) {
  if (location.protocol === "file:") return "ws://localhost:8080" + path;
  return (location.protocol === "https:" ? "wss://" : "ws://") + location.host + path;
};

Connection.prototype.connect = function () {
  var self = this;
  var Socket = window.WebSocket || window.MozWebSocket; // Firefox 6 to 10 had it under that name
  if (!Socket) {
    this.show("closed", "This browser has no WebSocket, so this page can do nothing here.");
    return;
  }
  clearTimeout(this.timer);
  this.ended = false;
  this.show("connecting", "Connecting");

  var socket, openedAt;
  var done = this.handlers.done || [1000];
  try {
    socket = new Socket(this.url);
  } catch (error) {
    this.show("closed", "This browser refuses to connect to " + this.url);
    return;
  }
  this.socket = socket;

  socket.onopen = function () {
    if (self.socket !== socket) return; // closed by the page, and another has taken its place
    openedAt = new Date().getTime();
    self.show("open", "Open");
    if (self.handlers.onopen) self.handlers.onopen();
  };
  socket.onmessage = function (event) {
    if (self.socket === socket && self.handlers.onmessage) self.handlers.onmessage(event.data);
  };
  socket.onclose = function (event) {
    if (self.socket !== socket || self.ended) return;
    var words = "No connection";
    if (openedAt) {
      words = "Closed";
      if (event.code) words += " with code " + event.code; // the versions of 2010 had no codes
      if (event.reason) words += " (" + event.reason + ")";
      // A connection that lasted is a success, one closed at once is not: no hammering.
      if (new Date().getTime() - openedAt > 5000) self.failures = 0;
    }
    if (openedAt && done.indexOf(event.code) >= 0) self.show("closed", words); // the server is done
    else self.retry(words);
  };
};

// Waits half a second, then one, two, four, … up to 15, each less a random part of up to a half:
// when a server restarts, its clients should not all come back in the same instant.
Connection.prototype.retry = function (words) {
  var self = this;
  var delay = Math.min(15000, 500 * Math.pow(2, this.failures)) * (0.5 + Math.random() / 2);
  this.failures += 1;
  this.timer = setTimeout(function () { self.connect(); }, delay);
  this.show("waiting", words + ", reconnecting in " + Math.ceil(delay / 1000) + " s");
};

// Ends it from here: no reconnection.
Connection.prototype.close = function () {
  clearTimeout(this.timer);
  this.ended = true;
  if (this.socket) this.socket.close();
  this.show("closed", "Disconnected");
};

Connection.prototype.send = function (data) {
  if (this.state !== "open" || this.socket.readyState !== 1) return false;
  try {
    return this.socket.send(data) !== false; // the oldest versions answer true or false
  } catch (error) {
    return false;
  }
};

Connection.prototype.show = function (state, words) {
  var element = document.getElementById(this.handlers.stateId || "state");
  this.state = state;
  if (element) {
    element.setAttribute("data-state", state);
    setText(element, words);
  }
  if (this.handlers.onstate) this.handlers.onstate(state, words);
};

// A list of what went over the connection, in a box that scrolls. `kind` is "sent", "received" or
// "note"; `label` stands before the text.
function Log(list) {
  this.list = list;
}

Log.MOST_LINES = 200;

Log.prototype.add = function (kind, label, data) {
  var box = this.list.parentNode;
  var atEnd = box.scrollTop + box.clientHeight > box.scrollHeight - 8;
  var line = document.createElement("li");
  line.className = kind;
  appendSpan(line, "label", label);
  line.appendChild(document.createTextNode(" "));
  appendSpan(line, "text", typeof data === "string" ? data : "(" + data.size + " bytes, binary)");
  this.list.appendChild(line);
  while (this.list.children.length > Log.MOST_LINES) this.list.removeChild(this.list.children[0]);
  if (atEnd) box.scrollTop = box.scrollHeight; // whoever scrolled back to read stays there
};

function appendSpan(parent, name, text) {
  var span = document.createElement("span");
  span.className = name;
  setText(span, text);
  parent.appendChild(span);
}

// Text from the network goes into a page as a text node, never through innerHTML: a message like
// "<img src=x onerror=alert(1)>" must stay what it is, a line of text.
function setText(element, text) {
  while (element.firstChild) element.removeChild(element.firstChild);
  element.appendChild(document.createTextNode(text));
}
