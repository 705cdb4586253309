// What an application gives the TypeScript SDKs for OAuth: a memory, and a way to open a browser. Everything else the SDK discovers.
import { randomUUID } from 'node:crypto';

// provider returns an OAuthClientProvider, of v1 and of v2 alike. name is the client's, redirect its callback, metadataUrl the URL of
// its metadata document, if it has one. sent gets every authorization URL.
export function provider({ name, redirect, metadataUrl, scope, sent }) {
  const memory = {};
  return {
    memory,
    clientMetadataUrl: metadataUrl,
    get redirectUrl() {
      return redirect;
    },
    get clientMetadata() {
      return {
        client_name: name,
        redirect_uris: [redirect],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none',
        ...(scope ? { scope } : {}),
      };
    },
    state: () => (memory.state = randomUUID()),
    clientInformation: () => memory.client,
    saveClientInformation: (client) => {
      memory.client = client;
    },
    tokens: () => memory.tokens,
    saveTokens: (tokens) => {
      memory.tokens = tokens;
    },
    redirectToAuthorization: (url) => {
      sent.push(url);
    },
    saveCodeVerifier: (verifier) => {
      memory.verifier = verifier;
    },
    codeVerifier: () => memory.verifier,
    discoveryState: () => memory.discovery,
    saveDiscoveryState: (state) => {
      memory.discovery = state;
    },
  };
}
