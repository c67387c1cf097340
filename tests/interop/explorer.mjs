// A visitor of a node's pages: from the front page to a verified certificate, a transaction and an
// address, by clicks.  Prints what was seen as JSON, as dashboard.mjs does.
// node explorer.mjs CHROMIUM URL DIRECTORY: screenshots go into the directory.
import { chromium } from 'playwright-core'
import { AxeBuilder } from '@axe-core/playwright'

const [executablePath, url, directory] = process.argv.slice(2)
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']
const PATIENCE_MS = 120_000
const PHONE = { width: 390, height: 844 }
const DESK = { width: 1200, height: 900 }

const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS, timeout: PATIENCE_MS })
const context = await browser.newContext({ viewport: DESK })
context.setDefaultTimeout(PATIENCE_MS)
const page = await context.newPage()
const seen = { errors: [], violations: [], wide: [], visited: [], verdict: null, checks: [] }
page.on('pageerror', (error) => seen.errors.push(String(error)))
page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()))

async function look(name) {
  const found = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21aa']).analyze()
  for (const each of found.violations) seen.violations.push(`${name}: ${each.id}: ${each.nodes[0].html}`)
  await page.screenshot({ path: `${directory}/${name}.png`, fullPage: true })
  await page.setViewportSize(PHONE)
  const width = await page.evaluate(() => document.documentElement.scrollWidth)
  if (width > PHONE.width) seen.wide.push(`${name}: ${width} pixels`)
  await page.screenshot({ path: `${directory}/${name}-phone.png`, fullPage: true })
  await page.setViewportSize(DESK)
  seen.visited.push(name)
}

await page.goto(url)
await page.waitForFunction(() => document.getElementById('live').textContent === 'live')
await look('chain')
await page.click('tbody th a[href^="/blocks/"]')
await page.click('#verify')
await page.waitForFunction(() => document.body.dataset.verdict)
seen.verdict = await page.evaluate(() => document.body.dataset.verdict)
seen.checks = await page.locator('#checks li').allTextContents()
await page.click('summary')
await look('block')
await page.click('tbody tr:nth-child(2) a[href^="/transactions/"]')
await look('transaction')
await page.click('td a[href^="/addresses/"]')
await look('address')
for (const name of ['blocks', 'mempool', 'peers']) {
  await page.click(`nav a[href="/${name}"]`)
  await look(name)
}
await page.click('nav a[href="/blocks"]')
await page.click('tbody a[href^="/miners/"]')
await look('miner')
await page.fill('input[name=q]', 'nobody')
await page.press('input[name=q]', 'Enter')
await page.waitForURL('**/search?q=nobody')
seen.errors = seen.errors.filter((text) => !text.includes('404'))
await look('problem')
await browser.close()
console.log(JSON.stringify(seen))
