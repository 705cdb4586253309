// Preloaded into servers that would listen on all interfaces: moves them to loopback.
//   NODE_OPTIONS="--require <absolute path>/bindlocal.cjs"
// _listen2 and not listen(): some servers read address() right after it.
'use strict';

const net = require('node:net');

const listen = net.Server.prototype._listen2;

net.Server.prototype._listen2 = function listenOnLoopback(address, port, type, ...rest) {
  if (port >= 0 && (address == null || address === '0.0.0.0' || address === '::')) {
    return listen.call(this, '127.0.0.1', port, 4, ...rest);
  }
  return listen.call(this, address, port, type, ...rest);
};
