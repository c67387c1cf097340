// Pictures of pages: node shot.mjs CHROMIUM (URL FILE)...
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
  await page.screenshot({ path: wanted[at + 1] })
}
await browser.close()
