// Loaded into the suite: a mock server that is done with ends its connections. Left alone it waits
// until the client has closed them all, and a gateway keeps a connection for the next request.
import http from "node:http";

const close = http.Server.prototype.close;
http.Server.prototype.close = function (...rest) {
  const server = close.apply(this, rest);
  this.closeAllConnections();
  return server;
};
