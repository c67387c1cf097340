// One start of Chromium, and how a page is looked at, for all scripts of this directory.
import { chromium } from 'playwright-core'
import { AxeBuilder } from '@axe-core/playwright'

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']
export const PATIENCE_MS = 120_000
const PHONE = { width: 390, height: 844 }
const DESK = { width: 1200, height: 900 }
const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21aa']

// A browser with one page.
export async function open(executablePath, viewport = DESK) {
  const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS, timeout: PATIENCE_MS })
  const context = await browser.newContext({ viewport })
  context.setDefaultTimeout(PATIENCE_MS)
  return { browser, page: await context.newPage() }
}

// A visitor: `seen` collects the page's own errors, axe-core's violations and what is too wide;
// `look` keeps a picture of the page as it is, on a desk and on a phone.
export async function visit(executablePath, directory) {
  const { browser, page } = await open(executablePath)
  const seen = { errors: [], violations: [], wide: [], visited: [], verdict: null, checks: [] }
  page.on('pageerror', (error) => seen.errors.push(String(error)))
  page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()))

  async function look(name) {
    const found = await new AxeBuilder({ page }).withTags(STANDARDS).analyze()
    for (const each of found.violations) seen.violations.push(`${name}: ${each.id}: ${each.nodes[0].html}`)
    await page.screenshot({ path: `${directory}/${name}.png`, fullPage: true })
    await page.setViewportSize(PHONE)
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    if (width > PHONE.width) seen.wide.push(`${name}: ${width} pixels`)
    await page.screenshot({ path: `${directory}/${name}-phone.png`, fullPage: true })
    await page.setViewportSize(DESK)
    seen.visited.push(name)
  }

  // Waits for a page that verifies, and keeps what it said.
  async function verdict() {
    await page.waitForFunction(() => document.body.dataset.verdict)
    seen.verdict = await page.evaluate(() => document.body.dataset.verdict)
    seen.checks = await page.locator('#checks li').allTextContents()
  }

  return { browser, page, seen, look, verdict }
}
