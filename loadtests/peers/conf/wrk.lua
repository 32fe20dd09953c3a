-- What wrk tells: a line of JSON. With a file of tokens every request has the next one.
-- wrk -s wrk.lua URL -- [TOKENS]

local requests = {}
local at = 0

function init(arguments)
  if arguments[1] then
    for token in io.lines(arguments[1]) do
      requests[#requests + 1] = wrk.format("GET", nil, { Authorization = "Bearer " .. token })
    end
    request = function()
      at = at % #requests + 1
      return requests[at]
    end
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'report {"requests":%d,"took_us":%d,"failed":%d,"refused":%d,' ..
    '"p50_us":%d,"p99_us":%d,"p999_us":%d}\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
