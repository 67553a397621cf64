-- One request in a hundred asks the handler to crash; a pause between requests keeps the rate down.
-- Arguments: milliseconds of pause.
local pause = 0
local count = 0

function init(arguments)
   pause = tonumber(arguments[1]) or 0
end

function delay()
   return pause
end

function request()
   count = count + 1
   if count % 100 == 0 then
      return wrk.format("GET", "/soak?crash=1")
   end
   return wrk.format("GET", "/soak?name=bob")
end

done = function(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "bad_status": %d, "failed": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
