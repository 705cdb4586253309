// A person at a real browser: Debian's Chromium, driven by playwright-core. It does what a person does: reads labels, types, presses
// buttons.
import { chromium } from 'playwright-core';

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync',
];

// Person logs in at the authserver as somebody ({email, password}). close ends the browser.
export class Person {
  #browser;
  #context;
  #account;

  constructor(browser, context, account) {
    this.#browser = browser;
    this.#context = context;
    this.#account = account;
  }

  static async start(account, options = {}) {
    // A test's own authority is in no browser's list; the clients get it by NODE_EXTRA_CA_CERTS.
    if (process.env.NODE_EXTRA_CA_CERTS) options = { ignoreHTTPSErrors: true, ...options };
    const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: flags });
    return new Person(browser, await browser.newContext({ javaScriptEnabled: false, ...options }), account);
  }

  close() {
    return this.#browser.close();
  }

  // cookies returns the values of all cookies that the browser keeps.
  async cookies() {
    return (await this.#context.cookies()).map(({ value }) => value);
  }

  // authorize opens an authorization URL, logs in where that is asked for, allows the client, and returns the address the browser
  // ends at. seen, if given, gets the visible text of every page on the way. A person whose password is refused, or who is sent to a
  // place where nobody answers, gives up there.
  async authorize(url, { seen = [], decision = 'Allow', provider } = {}) {
    const page = await this.#context.newPage();
    const tried = new Set();
    try {
      await page.goto(String(url)).catch((error) => {
        if (!/ERR_CONNECTION/.test(error)) throw error;
      });
      for (let pages = 0; pages < 8; pages++) {
        const text = await page.locator('body').innerText();
        seen.push(text);
        if (await this.#logIn(page, provider, tried)) continue;
        const button = page.getByRole('button', { name: new RegExp(`^${decision}`) });
        if (await button.count()) {
          await this.#press(page, button);
          continue;
        }
        const back = page.getByRole('link', { name: /^Return to/ });
        if (await back.count()) {
          await this.#press(page, back);
          continue;
        }
        return page.url();
      }
      throw new Error(`the pages do not end: ${page.url()}`);
    } finally {
      await page.close();
    }
  }

  // connect opens the link that a call was answered with, logs in where that is asked for, types what the server wants to have or goes on
  // to where it is allowed, and returns the address the browser ends at. seen gets the visible text of every page.
  async connect(link, { seen = [], typed = [] } = {}) {
    const page = await this.#context.newPage();
    const tried = new Set();
    try {
      await page.goto(link);
      for (let pages = 0; pages < 8; pages++) {
        seen.push(await page.locator('body').innerText());
        if (await this.#logIn(page, undefined, tried)) continue;
        const button = page.getByRole('button', { name: /^(Connect|Continue)$/ });
        if (!(await button.count()) || tried.has('connect')) return page.url();
        tried.add('connect');
        const fields = page.locator('form input[type=password]');
        for (let i = 0; i < (await fields.count()); i++) await fields.nth(i).fill(typed[i]);
        await this.#goToProvider(page, button);
      }
      throw new Error(`the pages do not end: ${page.url()}`);
    } finally {
      await page.close();
    }
  }

  // #logIn fills the login form if the page is one that was not filled before.
  async #logIn(page, provider, tried = new Set()) {
    if (provider) {
      const button = page.getByRole('button', { name: new RegExp(provider) });
      if (await button.count()) {
        if (tried.has('provider')) return false;
        tried.add('provider');
        await this.#goToProvider(page, button);
        return true;
      }
    }
    const email = page.getByLabel(/e-?mail/i);
    if (!(await email.count())) return this.#logInAtProvider(page, tried);
    if (tried.has('password')) return false;
    tried.add('password');
    await email.fill(this.#account.email);
    await page.getByLabel(/password/i).fill(this.#account.password);
    await this.#press(page, page.getByRole('button', { name: /^(log|sign) in|^continue/i }).last());
    return true;
  }

  // #goToProvider presses the button of an identity provider. The page that comes sends the browser on by itself, or says why not.
  async #goToProvider(page, button) {
    const here = new URL(page.url()).origin;
    const [answer] = await Promise.all([page.waitForResponse((response) => response.request().isNavigationRequest()), button.click()]);
    if (answer.headers().refresh) await page.waitForURL((url) => url.origin !== here);
    await page.waitForLoadState('load');
  }

  // #logInAtProvider fills the form of an identity provider, which asks for a user name.
  async #logInAtProvider(page, tried) {
    const name = page.locator('input[name=username]');
    if (!(await name.count()) || tried.has('there')) return false;
    tried.add('there');
    await name.fill(this.#account.username ?? this.#account.email);
    await page.locator('input[name=password]').fill(this.#account.password);
    await this.#press(page, page.locator('button[type=submit], input[type=submit]').first());
    return true;
  }

  // #press waits until the browser has arrived: the answer to a form is a redirect, often to a program of this machine.
  async #press(page, button) {
    await Promise.all([page.waitForEvent('load'), button.click()]);
    await page.waitForLoadState('load');
  }

  // revoke takes a client's access away on the page of the person's own grants, and returns that page's text afterwards.
  async revoke(issuer, client) {
    const page = await this.#context.newPage();
    try {
      await page.goto(new URL('/account', issuer).href);
      await this.#logIn(page);
      const entry = page.getByRole('listitem').filter({ hasText: client }).first();
      await this.#press(page, entry.getByRole('button'));
      return await page.locator('body').innerText();
    } finally {
      await page.close();
    }
  }
}
