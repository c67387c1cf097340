// Pictures of pages: node shot.mjs CHROMIUM (URL FILE)...
// Of a page with a button that verifies, the whole page, after its checks passed.
import { chromium } from 'playwright-core'

const [executablePath, ...wanted] = process.argv.slice(2)
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']
const PATIENCE_MS = 120_000

const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS, timeout: PATIENCE_MS })
const page = await browser.newPage({ viewport: { width: 1100, height: 800 } })
page.setDefaultTimeout(PATIENCE_MS)
for (let at = 0; at < wanted.length; at += 2) {
  await page.goto(wanted[at])
  await page.waitForFunction(() => document.getElementById('live').textContent === 'live')
  const button = await page.$('#verify')
  if (button) {
    await button.click()
    await page.waitForFunction(() => document.querySelectorAll('#checks li').length >= 3)
  }
  await page.screenshot({ path: wanted[at + 1], fullPage: button !== null })
}
await browser.close()
